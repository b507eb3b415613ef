//! Exit codes: a pipeline can tell a slow engine from a wrong one, and both from a tester that was too slow itself.

use serde::{Deserialize, Serialize};

/// How a command ended. The most serious finding decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Exit {
    /// All objectives met, every promise kept.
    Ok = 0,
    /// The run or the check could not be made.
    CouldNotRun = 1,
    /// Wrong command line or scenario.
    Usage = 2,
    /// An objective of the scenario was missed.
    ObjectiveMissed = 3,
    /// A promise was broken: oversold, lost, over the limit, untruthful.
    CorrectnessViolated = 4,
    /// The tester was too slow to say anything about the engine.
    ClientSaturated = 5,
    /// `compare` found a significant regression.
    Regression = 6,
    /// `compare` found something worse that chance may explain, or had too little to compare.
    CannotTell = 7,
    /// Ended by a signal; what was measured until then is in the output folder.
    Interrupted = 130,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Exit::Ok => "ok",
            Exit::CouldNotRun => "could not run",
            Exit::Usage => "wrong usage",
            Exit::ObjectiveMissed => "objective missed",
            Exit::CorrectnessViolated => "correctness violated",
            Exit::ClientSaturated => "client saturated",
            Exit::Regression => "regression",
            Exit::CannotTell => "cannot tell",
            Exit::Interrupted => "interrupted",
        }
    }
}
