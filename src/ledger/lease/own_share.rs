//! A node's share of a sale: what the order store lets it sell, against what its memory has.

/// Units of one node, as far as its share in the store goes. Memory never has more of them than the share covers: the share
/// grows after the book has lent and before the units go on sale, and shrinks after they are off sale and before the book
/// hears of it. So the store lends at no moment what somebody else may sell, whatever the book forgets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct OwnShare {
    /// Units of the share, sold ones included. `None` while an answer is missing: it may be what was asked for, or what it
    /// was.
    units: Option<u64>,
    /// Units of it that memory has, or had: sold, in flight and on sale.
    covered: u64,
    /// How often a call that would have changed it was given up in this life: calls of former turns may come late, and must
    /// change nothing then.
    turn: u64,
    /// Units that former lives sold.
    sold_before: u64,
    /// Units that are kept off sale for an operator, and out of the share: another total may take their place.
    withheld: u64,
}

impl OwnShare {
    /// A life joins with the share that a former one left, of which that one has sold so many units. Unsold ones are this
    /// life's once the share is written in its name.
    pub fn left_by_a_former_life(units: u64, sold: u64) -> Self {
        let units = (units == sold).then_some(units);
        Self { units, covered: sold, sold_before: sold, ..Self::default() }
    }

    /// The same, where what was sold is stock again: for the checker.
    pub fn forgetting_what_was_sold(self) -> Self {
        Self { covered: 0, ..self }
    }

    /// What the share is to be, for a node that holds so many units.
    pub fn wanted(&self, held: u64) -> u64 {
        held.saturating_sub(self.withheld).max(self.sold_before)
    }

    /// Whether it is that, as far as this node has heard.
    pub fn is(&self, units: u64) -> bool {
        self.units == Some(units)
    }

    /// The share, which was to be `wanted`, is so many units now. Returns those that memory does not have yet: they go on
    /// sale.
    pub fn becomes(&mut self, units: u64, wanted: u64) -> u64 {
        self.units = Some(units);
        if units > wanted {
            // It never shrinks below what was sold, whatever this node knows of that.
            self.sold_before = units;
        }
        let new = units.min(wanted).saturating_sub(self.covered);
        self.covered = self.covered.max(units);
        new
    }

    /// Units of `held` that neither the share nor memory has, nor an operator.
    pub fn lacks(&self, held: u64) -> u64 {
        held.saturating_sub(self.withheld).saturating_sub(self.covered)
    }

    /// The turn of the next call that changes it.
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// A call that changes it was given up: it may have been carried out, or may be later.
    pub fn unheard(&mut self) {
        self.forget();
        self.turn += 1;
    }

    /// Nobody knows what the share is.
    pub fn forget(&mut self) {
        self.units = None;
    }

    /// What was seen in the store counts: where it is not what this node knew, somebody else has changed it.
    pub fn seen(&mut self, units: u64) {
        self.units = self.units.filter(|known| *known == units);
    }

    /// Units are in memory, whatever the share is: for the checker.
    pub fn covers_unasked(&mut self, units: u64) {
        self.covered += units;
    }

    /// Units are off sale.
    pub fn off_sale(&mut self, units: u64) {
        self.covered = self.covered.saturating_sub(units);
    }

    /// Units that are off sale are kept for an operator.
    pub fn withhold(&mut self, units: u64) {
        self.off_sale(units);
        self.withheld += units;
    }

    /// The operator does not want these units any more, or has decided that they are none.
    pub fn release_withheld(&mut self, units: u64) {
        self.withheld -= units;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_go_on_sale_once_when_the_share_covers_them() {
        let mut share = OwnShare::left_by_a_former_life(4, 4);
        assert!(share.is(4));
        assert_eq!(share.wanted(9), 9);
        assert_eq!([share.becomes(7, 9), share.lacks(9)], [3, 2]);
        assert_eq!([share.becomes(9, 9), share.lacks(9)], [2, 0]);
        share.off_sale(2);
        assert_eq!(share.becomes(7, 7), 0, "they are off sale already");
        assert_eq!(share.wanted(1), 4, "what was sold stays sold");
    }

    #[test]
    fn what_a_former_life_did_not_sell_is_written_in_this_ones_name_first() {
        let mut share = OwnShare::left_by_a_former_life(6, 4);
        assert!(!share.is(6));
        assert_eq!(share.becomes(6, 6), 2);
    }

    #[test]
    fn units_that_an_operator_waits_for_are_out_of_the_share_until_he_has_decided() {
        let mut share = OwnShare::left_by_a_former_life(0, 0);
        assert_eq!(share.becomes(5, 5), 5);
        share.withhold(2);
        assert_eq!((share.wanted(5), share.becomes(3, 3)), (3, 0));
        assert_eq!(share.lacks(5), 0);
        share.release_withheld(2);
        assert_eq!((share.wanted(5), share.becomes(5, 5)), (5, 2));
    }

    #[test]
    fn a_share_that_is_not_what_was_known_is_written_again() {
        let mut share = OwnShare::left_by_a_former_life(0, 0);
        share.becomes(5, 5);
        share.seen(5);
        assert!(share.is(5));
        share.seen(8);
        assert!(!share.is(5) && !share.is(8));
        assert_eq!(share.becomes(5, 5), 0);
        // Of what memory has already, nothing goes back unsold and nothing goes on sale again.
        share.seen(0);
        assert_eq!((share.becomes(3, 5), share.lacks(5), share.becomes(5, 5)), (0, 0, 0));
    }

    #[test]
    fn a_share_of_more_than_was_wanted_is_what_was_sold() {
        let mut share = OwnShare::left_by_a_former_life(0, 0);
        assert_eq!(share.becomes(5, 3), 3);
        assert!(share.is(share.wanted(3)));
    }
}
