//! What can happen to a world, by name.

use crate::world::{Begins, Instance};

/// A step, as a trace names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Begin,
    Admit(usize),
    Commit(usize),
    HearOfEnd(usize),
    BeginLife(usize),
    Read(usize),
    Beat(usize),
    Fence(usize),
    EndEpoch(usize),
    Share(usize),
    Release(usize),
    Call(usize, &'static str),
    Arrive(usize),
    /// A node that nobody else is left to stand in for.
    StartAlone(usize),
    /// Redis takes writes again.
    TakeWrites,
    /// A node where the sale rests has found the other one silent.
    LookAtAll(usize),
    // From here on: faults, and what healing must not wait for.
    Crash(usize),
    Restart(usize),
    Expire(usize),
    CutReplica,
    FailOver,
    Flush,
    CopyStore,
    Restore,
    RefuseWrites,
    ForgetUnit(usize),
    Cut(usize),
    Mend(usize),
    Rest(usize),
    BuyerComes(usize),
    Suspect(usize),
    AnswerLost(usize, &'static str),
    CallDelayed(usize, &'static str),
}

impl Step {
    /// Whether the step is part of healing, or something that needs it.
    pub fn heals(&self, instance: &Instance) -> bool {
        // Who finds a node silent has waited for that.
        let is_patient = instance.begins != Begins::FirstBookAlone;
        (is_patient || !matches!(self, Self::Fence(_)))
            && !matches!(
                self,
                Self::Crash(_)
                    | Self::Restart(_)
                    | Self::Expire(_)
                    | Self::Suspect(_)
                    | Self::CutReplica
                    | Self::FailOver
                    | Self::Flush
                    | Self::CopyStore
                    | Self::Restore
                    | Self::RefuseWrites
                    | Self::ForgetUnit(_)
                    | Self::Cut(_)
                    | Self::Mend(_)
                    | Self::Rest(_)
                    | Self::BuyerComes(_)
                    | Self::AnswerLost(..)
                    | Self::CallDelayed(..)
            )
    }
}
