//! What the lease agent tells of its work, for the metrics.

use super::super::lease::Drift;
use crate::domain::{NodeId, SaleId};

/// Hears of the agent's work. All methods are called on the control plane.
pub trait LeaseWatch: Send + 'static {
    /// This node was lent `units`.
    fn leased(&self, units: u64);
    /// This node handed `units` back.
    fn handed_back(&self, units: u64);
    /// The three books of a sale were compared.
    fn compared(&self, sale: SaleId, drift: &Drift);
    /// A sale has ended: its books are none any more.
    fn ended(&self, sale: SaleId);
    /// The ledger was moved towards the store by this many movements.
    fn repaired(&self, movements: u64);
    /// A sale's book was opened anew.
    fn rebuilt(&self, sale: SaleId);
    /// The units of a silent node were taken back.
    fn reclaimed(&self, node: NodeId);
    /// This node was fenced and began another life.
    fn rejoined(&self);
    /// The store has not answered this node for long, or it answers again.
    fn cut_off(&self, is_cut_off: bool);
    /// Redis or the store does not answer.
    fn round_failed(&self, why: &str);
}
