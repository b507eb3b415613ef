//! How full a node is, as far as the release of waiting rooms goes by it.

/// How much work waits for the order writers: purchases, or steps of orders such as payments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// What waits.
    pub waiting: usize,
    /// What may wait.
    pub capacity: usize,
    /// Whether the store takes nothing at the moment.
    pub is_stalled: bool,
}

impl Load {
    /// How full it is, in thousandths; 1,000 when the store takes nothing.
    pub fn permille(&self) -> u32 {
        let share = self.waiting.saturating_mul(1_000) / self.capacity.max(1);
        if self.is_stalled { 1_000 } else { u32::try_from(share.min(1_000)).unwrap_or(1_000) }
    }

    /// Of something that is so full, in thousandths.
    pub const fn of_permille(permille: u32) -> Self {
        Self { waiting: permille as usize, capacity: 1_000, is_stalled: permille >= 1_000 }
    }

    /// Whichever is fuller.
    #[must_use]
    pub fn or_fuller(self, other: Self) -> Self {
        if other.permille() > self.permille() { other } else { self }
    }

    /// Beyond a quarter of what may wait, less is admitted.
    pub(super) fn is_strained(&self) -> bool {
        self.is_stalled || self.waiting.saturating_mul(4) > self.capacity
    }
}
