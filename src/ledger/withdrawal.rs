//! Units that are off sale and may be given up.

use std::fmt;

/// Units off sale in the hand of a change of the stock. Given up, they are gone; dropped, they are on sale again.
#[must_use = "dropping it puts the units back on sale"]
pub struct Withdrawal(Option<Box<dyn FnOnce(bool) + Send>>);

impl Withdrawal {
    /// Units whose holder is told through `decide` whether they are given up.
    pub fn new(decide: impl FnOnce(bool) + Send + 'static) -> Self {
        Self(Some(Box::new(decide)))
    }

    /// The store has the lower total: the units are none any more.
    pub fn give_up(mut self) {
        self.decide(true);
    }

    fn decide(&mut self, given_up: bool) {
        if let Some(decide) = self.0.take() {
            decide(given_up);
        }
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        self.decide(false);
    }
}

impl fmt::Debug for Withdrawal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Withdrawal").finish_non_exhaustive()
    }
}
