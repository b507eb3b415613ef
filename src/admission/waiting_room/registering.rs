//! Registering: what a buyer is told who joins, or asks again.

use super::super::live_sale::LiveSale;
use super::super::purchase::{Admission, Moment};
use super::pass::{PassText, SalePass};
use super::place::who_is;
use super::release::Pace;
use super::room::RoomState;
use crate::domain::{
    BuyerName, EpochMs, Registration, Rejection, RoomMarks, RoomTerms, SalePhase, SaleTerms, Who,
};

/// A buyer's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomPlace {
    /// What the buyer shows at the purchase.
    pub pass: PassText,
    /// When the buyer joined.
    pub joined_at: EpochMs,
    /// When the pass ends.
    pub expires_at: EpochMs,
    /// The place, the first is 1; `None` while the draw has not begun.
    pub position: Option<u64>,
    /// All who have registered.
    pub of: u64,
    /// Whether the buyer may buy.
    pub admitted: bool,
    /// Seconds until the buyer is admitted, or nothing is left, as things are; at most, while the draw has not begun.
    pub eta_s: u64,
    /// Whether there may be something left when the buyer's turn comes.
    pub has_chance: bool,
}

/// Why a buyer gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRegistered {
    /// The sale has no waiting room: whoever comes may buy.
    NoRoom,
    /// Registration opens later.
    Closed {
        /// When.
        opens_at: EpochMs,
    },
    /// As a purchase would be.
    Rejected(Rejection),
}

impl From<Rejection> for NotRegistered {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// A buyer before the door of a waiting room that is open.
#[derive(Clone, Copy, Debug)]
pub struct Knock {
    who: Who,
    /// When the buyer joined, and under which number, if that is known here.
    known: Option<(EpochMs, u32)>,
}

impl Knock {
    /// The buyer's name in the sale.
    pub const fn who(&self) -> &Who {
        &self.who
    }

    /// Whether the buyer is to be given a new place: none is known here.
    pub const fn is_new(&self) -> bool {
        self.known.is_none()
    }
}

impl Admission {
    /// The buyer's place in the sale's waiting room; a new one at its end for who has none yet. `held` is the pass that the
    /// buyer has, if any: it keeps its place, also when it is over.
    ///
    /// # Errors
    /// [`NotRegistered`].
    pub fn register(
        &self,
        sale: &LiveSale,
        buyer: BuyerName<'_>,
        held: Option<&[u8]>,
        now: Moment,
    ) -> Result<RoomPlace, NotRegistered> {
        let knock = self.knock(sale, buyer, held, now)?;
        self.seat(sale, buyer, &knock, now)
    }

    /// The first half of [`Admission::register`]: whether the buyer may come in, which counts as a click. Whoever is to be asked
    /// about newcomers is asked between the two.
    ///
    /// # Errors
    /// [`NotRegistered`].
    pub fn knock(
        &self,
        sale: &LiveSale,
        buyer: BuyerName<'_>,
        held: Option<&[u8]>,
        now: Moment,
    ) -> Result<Knock, NotRegistered> {
        let Some(terms) = sale.terms.waiting_room() else { return Err(NotRegistered::NoRoom) };
        let phase = self.phase(sale, now.wall);
        let room = sale.state.room();
        match RoomState::of(terms, &room.marks(), phase, sale.is_sold_out(), now.wall) {
            RoomState::Ended => return Err(Rejection::Ended.into()),
            RoomState::SoldOut => return Err(Rejection::SoldOut.into()),
            RoomState::Closed => {
                let opens_at = terms.opens_at.unwrap_or(sale.terms.starts_at);
                return Err(NotRegistered::Closed { opens_at });
            }
            RoomState::Registering | RoomState::Drawing | RoomState::Open | RoomState::Paused => {}
        }
        self.take_click(sale.key.tenant(), buyer, now.mono)?;
        let held = held.and_then(|text| self.rooms().rules().keys.read(text, sale, buyer));
        let who = held.map_or_else(|| who_is(&sale.key, buyer), |pass| pass.who);
        let known = held.map(|pass| (pass.joined_at, pass.number));
        Ok(Knock { who, known: known.or_else(|| self.rooms().recent().of(sale.id, &who)) })
    }

    /// The second half: the place, and the pass. `now` is when a new place begins.
    ///
    /// # Errors
    /// [`NotRegistered`].
    pub fn seat(
        &self,
        sale: &LiveSale,
        buyer: BuyerName<'_>,
        knock: &Knock,
        now: Moment,
    ) -> Result<RoomPlace, NotRegistered> {
        let Some(terms) = sale.terms.waiting_room() else { return Err(NotRegistered::NoRoom) };
        let phase = self.phase(sale, now.wall);
        let room = sale.state.room();
        let rules = self.rooms().rules();
        let who = knock.who;
        // Another request of the same buyer may have come in meanwhile.
        let known = knock.known.or_else(|| self.rooms().recent().of(sale.id, &who));
        let (joined_at, number) = match known {
            Some(known) => known,
            None => {
                self.rooms().check_queue()?;
                let number = u32::try_from(room.next_number()).unwrap_or(u32::MAX);
                self.rooms().recent().note(sale.id, &who, now.wall, number);
                self.rooms().log(Registration { sale: sale.id, joined_at: now.wall, who });
                (now.wall, number)
            }
        };
        let valid_ms = rules.pass_valid_ms;
        let first_end = end_of_pass(&sale.terms, joined_at, valid_ms);
        let is_fresh = first_end.ms_since(now.wall) >= valid_ms / 2 || first_end >= sale.terms.ends_at;
        let expires_at = if is_fresh { first_end } else { end_of_pass(&sale.terms, now.wall, valid_ms) };
        let marks = room.marks();
        let is_drawn = terms.draws(&marks) && joined_at < marks.drawn_at.unwrap_or(sale.terms.starts_at);
        let pass = SalePass { joined_at, expires_at, number, who, is_drawn };
        let pass = rules.keys.sign(&pass, sale, buyer).ok_or(Rejection::Overloaded)?;
        let position = if is_drawn && marks.drawn_at.is_none() {
            None
        } else {
            room.drawn_place(joined_at, &who).or(Some(number.into()))
        };
        let admitted = phase != SalePhase::Upcoming && room.admits(joined_at, &who);
        let of = room.registered().max(number.into());
        let outlook = Outlook::of(sale, terms, &marks, (position, of), admitted, now.wall);
        Ok(RoomPlace {
            pass,
            joined_at,
            expires_at,
            position,
            of,
            admitted,
            eta_s: outlook.eta_s,
            has_chance: outlook.has_chance,
        })
    }
}

impl RoomPlace {
    /// Seconds between two looks at the document: as long as it may be kept by caches, and as who is sold out should hear.
    pub const POLL_S: u32 = 2;
}

/// A pass is good for `valid_ms` from the start of the sale or from `from`, whichever is later, and never beyond the sale.
fn end_of_pass(terms: &SaleTerms, from: EpochMs, valid_ms: i64) -> EpochMs {
    from.max(terms.starts_at).plus_ms(valid_ms).min(terms.ends_at)
}

/// What a buyer at a place can hope for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outlook {
    eta_s: u64,
    has_chance: bool,
}

impl Outlook {
    fn of(
        sale: &LiveSale,
        terms: &RoomTerms,
        marks: &RoomMarks,
        (position, of): (Option<u64>, u64),
        admitted: bool,
        now: EpochMs,
    ) -> Self {
        let remaining = sale.remaining_everywhere();
        if admitted {
            return Self { eta_s: 0, has_chance: remaining > 0 };
        }
        // So many people take what is left, where some of those who are admitted do not come.
        let comes_permille = 1_000 - u64::from(marks.absent_permille.min(999));
        let people_left = (remaining * 1_000).div_ceil(comes_permille);
        // Before the draw everybody may be the last, and has a chance.
        let ahead = position.unwrap_or(of).saturating_sub(1).saturating_sub(marks.admitted);
        let given = if marks.rate_per_s > 0 { Some(marks.rate_per_s) } else { terms.rate_per_s };
        let rate = u64::from(given.unwrap_or(Pace::FIRST_PER_S).max(1));
        let until_start_s = sale.terms.starts_at.ms_since(now).max(0) as u64 / 1_000;
        // Nobody waits longer than until the last unit is gone.
        let waits = ahead.min(people_left) + 1;
        Self {
            eta_s: until_start_s + waits.div_ceil(rate),
            has_chance: position.is_none() || ahead < people_left,
        }
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use proptest::prelude::*;

    use super::super::place::priority_of;
    use super::super::{PassKeys, RoomRules};
    use super::*;
    use crate::admission::{Accepted, Arrival, OrderIds, Purchase, Queue};
    use crate::domain::{
        Cents, Currency, KeyName, Nanos, NodeId, RoomFailure, RoomMode, RoomRefusal, RoomSeed, Sale, SaleId,
        SaleKey,
    };

    const SEED: RoomSeed = RoomSeed(*b"0123456789abcdef");
    const STARTS_AT: EpochMs = EpochMs(1_000_000);

    struct Shop {
        admission: Admission,
        sale: LiveSale,
        _arrivals: flume::Receiver<Arrival>,
    }

    impl Shop {
        fn new(mode: RoomMode, on_failure: RoomFailure) -> Self {
            let (queue, arrivals) = Queue::bounded(64);
            let ids = OrderIds::after(NodeId::new(0).unwrap(), None);
            let admission = Admission::new(queue, ids, None, None);
            let keys = PassKeys::new([&b"a secret that is long enough"[..]]);
            admission.rooms().set_rules(RoomRules { keys, ..RoomRules::default() });
            let room = RoomTerms {
                mode,
                opens_at: Some(STARTS_AT.plus_ms(-500_000)),
                rate_per_s: Some(10),
                grace_s: 180,
                on_failure,
                seed: SEED,
                beacon: None,
            };
            let terms = SaleTerms {
                title: String::new(),
                price: Cents(5),
                currency: Currency::USD,
                per_buyer_limit: 1,
                starts_at: STARTS_AT,
                ends_at: STARTS_AT.plus_ms(200_000_000),
                pay_within_s: 60,
                rate: None,
                paused: false,
                paused_until: None,
                room: Some(room),
            };
            let key = SaleKey::new("default", "c", "s").unwrap();
            let sale = Sale { id: SaleId(1), key, terms, total: 20, sold: 0, version: 1, archived_at: None };
            Self { admission, sale: LiveSale::open(sale, 1), _arrivals: arrivals }
        }

        fn register(&self, buyer: &str, held: Option<&str>, at: EpochMs) -> Result<RoomPlace, NotRegistered> {
            let buyer = BuyerName::new(buyer).unwrap();
            self.admission.register(&self.sale, buyer, held.map(str::as_bytes), moment(at))
        }

        fn buy(&self, buyer: &str, pass: Option<&str>, at: Moment) -> Result<Accepted, Rejection> {
            let idempotency_key = Some(KeyName::new("k").unwrap());
            let buyer = BuyerName::new(buyer).unwrap();
            let request = Purchase { buyer, quantity: 1, idempotency_key, pass: pass.map(str::as_bytes) };
            self.admission.purchase(&self.sale, &request, 0, at).map_err(Rejection::from)
        }

        fn refused(&self, buyer: &str, pass: Option<&str>, at: EpochMs) -> Option<RoomRefusal> {
            match self.buy(buyer, pass, moment(at)) {
                Err(Rejection::WaitingRoom { reason, .. }) => Some(reason),
                Err(other) => panic!("{other:?}"),
                Ok(_) => None,
            }
        }

        fn show(&self, marks: RoomMarks) {
            let terms = self.sale.terms.room.as_ref().unwrap();
            self.sale.state.room().show(&marks, terms);
        }
    }

    /// A moment at which the marks have just been looked at.
    fn moment(wall: EpochMs) -> Moment {
        Moment { wall, mono: Nanos(Nanos::SECOND.0) }
    }

    #[test]
    fn who_is_admitted_buys_and_hears_of_the_order_ever_after() {
        let shop = Shop::new(RoomMode::Fifo, RoomFailure::Open);
        let now = STARTS_AT.plus_ms(5_000);
        let ann = shop.register("ann", None, now).unwrap();
        let pass = ann.pass.as_str();
        assert_eq!(shop.refused("ann", None, now), Some(RoomRefusal::NoPass));
        assert_eq!(shop.refused("ann", Some("x"), now), Some(RoomRefusal::InvalidPass));
        assert_eq!(shop.refused("bob", Some(pass), now), Some(RoomRefusal::InvalidPass));
        assert_eq!(shop.refused("ann", Some(pass), now), Some(RoomRefusal::NotAdmitted));
        shop.show(RoomMarks { fifo_mark: now.plus_ms(1), admitted: 1, ..RoomMarks::default() });
        assert_eq!(shop.refused("ann", Some(pass), ann.expires_at), Some(RoomRefusal::ExpiredPass));
        assert!(matches!(shop.buy("ann", Some(pass), moment(now)), Ok(Accepted::Placed(_))));
        // The same click again needs no pass: the first answer answers it.
        assert!(matches!(shop.buy("ann", None, moment(now)), Ok(Accepted::InFlight(_))));
        assert!(shop.register("ann", Some(pass), now).unwrap().admitted);
    }

    #[test]
    fn a_place_is_kept_with_the_pass_without_it_and_after_its_end() {
        let shop = Shop::new(RoomMode::Fifo, RoomFailure::Open);
        let now = STARTS_AT.plus_ms(5_000);
        let first = shop.register("ann", None, now).unwrap();
        assert_eq!((first.position, first.of), (Some(1), 1));
        let bob = shop.register("bob", None, now.plus_ms(1)).unwrap();
        assert_eq!((bob.position, bob.of), (Some(2), 2));
        let again = shop.register("ann", None, now.plus_ms(9)).unwrap();
        assert_eq!(RoomPlace { of: 2, ..first }, again, "the same pass, too");
        let renewed = shop.register("ann", Some(first.pass.as_str()), first.expires_at.plus_ms(1)).unwrap();
        assert_eq!((renewed.position, renewed.joined_at), (first.position, first.joined_at));
        assert!(renewed.expires_at > first.expires_at);
        let logged: Vec<_> = shop.admission.rooms().registrations().try_iter().collect();
        assert_eq!(logged.len(), 2, "each buyer once: {logged:?}");
    }

    #[test]
    fn the_room_is_closed_before_it_opens_and_after_the_end() {
        let shop = Shop::new(RoomMode::Draw, RoomFailure::Open);
        let opens_at = STARTS_AT.plus_ms(-500_000);
        assert_eq!(shop.register("ann", None, opens_at.plus_ms(-1)), Err(NotRegistered::Closed { opens_at }));
        assert!(shop.register("ann", None, opens_at).is_ok());
        let ended = shop.register("ann", None, shop.sale.terms.ends_at);
        assert_eq!(ended, Err(NotRegistered::Rejected(Rejection::Ended)));
        let mut shop = shop;
        shop.sale.state.stock().drain();
        let sold_out = shop.register("bob", None, STARTS_AT);
        assert_eq!(sold_out, Err(NotRegistered::Rejected(Rejection::SoldOut)));
        shop.sale.terms.room = None;
        assert_eq!(shop.register("bob", None, STARTS_AT), Err(NotRegistered::NoRoom));
    }

    #[test]
    fn while_nobody_can_tell_the_sale_is_open_or_holds() {
        let late = Moment { wall: STARTS_AT, mono: Nanos(20 * Nanos::SECOND.0) };
        let open = Shop::new(RoomMode::Fifo, RoomFailure::Open);
        assert!(matches!(open.buy("ann", None, late), Ok(Accepted::Placed(_))));
        let holds = Shop::new(RoomMode::Fifo, RoomFailure::Hold);
        let held = holds.buy("ann", None, late);
        assert!(matches!(held, Err(Rejection::WaitingRoom { reason: RoomRefusal::Held, .. })), "{held:?}");
        // The marks were looked at again: they count.
        holds.admission.rooms().set_looked_at(late.mono);
        open.admission.rooms().set_looked_at(late.mono);
        for shop in [&open, &holds] {
            let waits = shop.buy("bob", None, late);
            assert!(
                matches!(waits, Err(Rejection::WaitingRoom { reason: RoomRefusal::NoPass, .. })),
                "{waits:?}"
            );
        }
        holds.admission.rooms().set_rules(RoomRules::default());
        assert_eq!(
            holds.register("bob", None, STARTS_AT),
            Err(NotRegistered::Rejected(Rejection::Overloaded))
        );
    }

    #[test]
    fn nobody_gets_a_place_that_is_written_nowhere() {
        let shop = Shop::new(RoomMode::Fifo, RoomFailure::Open);
        let rooms = shop.admission.rooms();
        let keys = PassKeys::new([&b"a secret that is long enough"[..]]);
        rooms.set_rules(RoomRules { keys, queue_registrations_max: 1, ..RoomRules::default() });
        let ann = shop.register("ann", None, STARTS_AT).unwrap();
        let later = STARTS_AT.plus_ms(9);
        let refused = Err(NotRegistered::Rejected(Rejection::Overloaded));
        assert_eq!((shop.register("bob", None, later), rooms.refused()), (refused, 1));
        // Who has a place needs no line in the log, with the pass or without.
        for held in [Some(ann.pass.as_str()), None] {
            assert_eq!(shop.register("ann", held, later).unwrap().joined_at, STARTS_AT);
        }
        assert_eq!(rooms.registrations().try_iter().count(), 1);
        let bob = shop.register("bob", None, later).unwrap();
        assert_eq!((bob.position, bob.of, rooms.registrations().len()), (Some(2), 2, 1));
    }

    #[test]
    fn an_estimate_is_capped_by_the_stock_and_says_when_there_is_no_chance() {
        let shop = Shop::new(RoomMode::Fifo, RoomFailure::Open);
        let marks = RoomMarks { registered: 1_000, admitted: 100, rate_per_s: 10, ..RoomMarks::default() };
        shop.show(marks);
        let place = shop.register("ann", None, STARTS_AT).unwrap();
        assert_eq!(
            (place.position, place.eta_s, place.has_chance),
            (Some(1_001), 3, false),
            "20 units at 10 a second"
        );
        shop.show(RoomMarks { admitted: 990, ..marks });
        let place = shop.register("ann", None, STARTS_AT).unwrap();
        assert_eq!((place.eta_s, place.has_chance), (2, true), "the eleventh in line");
        // Half of them do not come: twice as many have a chance.
        shop.show(RoomMarks { admitted: 990, absent_permille: 500, ..marks });
        let place = shop.register("bob", None, STARTS_AT.plus_ms(-60_000)).unwrap();
        assert_eq!((place.position, place.eta_s, place.has_chance), (Some(1_002), 62, true));
    }

    #[test]
    fn a_draw_that_is_made_counts_whatever_the_mode_has_become() {
        let shop = Shop::new(RoomMode::Fifo, RoomFailure::Open);
        shop.register("bob", None, STARTS_AT.plus_ms(-2)).unwrap();
        let ann = shop.register("ann", None, STARTS_AT.plus_ms(-1)).unwrap();
        assert_eq!(ann.position, Some(2));
        shop.show(RoomMarks { drawn_at: Some(STARTS_AT), drawn: 1, ..RoomMarks::default() });
        let told = shop.register("ann", Some(ann.pass.as_str()), STARTS_AT.plus_ms(1)).unwrap();
        let rules = shop.admission.rooms().rules();
        let is_drawn = |place: &RoomPlace| {
            let buyer = BuyerName::new("ann").unwrap();
            rules.keys.read(place.pass.as_str().as_bytes(), &shop.sale, buyer).unwrap().is_drawn
        };
        assert_eq!((told.position, is_drawn(&ann), is_drawn(&told)), (Some(1), false, true));
    }

    proptest! {
        /// Whoever registers, wherever and however often: in a draw the place is the buyer's, and the mark decides alone.
        #[test]
        fn a_draw_admits_by_priority_and_nothing_else(
            buyers in proptest::collection::btree_set("[a-z]{1,8}", 1..20), people in 0usize..25, repeats in 1usize..4,
        ) {
            let nodes = [(); 2].map(|()| Shop::new(RoomMode::Draw, RoomFailure::Open));
            let mut passes = Vec::new();
            for (place, buyer) in buyers.iter().enumerate() {
                for repeat in 0..repeats {
                    let at = STARTS_AT.plus_ms(-100_000 + (place * 7 + repeat) as i64);
                    let place = nodes[repeat % 2].register(buyer, None, at).unwrap();
                    prop_assert_eq!((place.position, place.admitted), (None, false));
                    passes.push((buyer, place));
                }
            }
            let key = &nodes[0].sale.key;
            let priority = |buyer: &str| priority_of(&SEED, &who_is(key, BuyerName::new(buyer).unwrap()));
            let mut order: Vec<u64> = buyers.iter().map(|buyer| priority(buyer)).collect();
            order.sort_unstable();
            let draw_mark = order.get(people).copied().unwrap_or(RoomMarks::PRIORITY_END);
            let admitted = people.min(order.len()) as u64;
            let marks = RoomMarks { draw_mark, drawn_at: Some(STARTS_AT), drawn: order.len() as u64, admitted, ..RoomMarks::default() };
            nodes.iter().for_each(|node| node.show(marks));
            for (buyer, place) in passes {
                let expected = priority(buyer) < draw_mark;
                let told = nodes.each_ref().map(|node| {
                    let told = node.register(buyer, Some(place.pass.as_str()), STARTS_AT.plus_ms(1)).unwrap();
                    (told.admitted, told.position)
                });
                prop_assert_eq!(told[0], told[1], "the nodes agree");
                prop_assert_eq!(told[0].0, expected);
                let late = nodes[0].register(&format!("{buyer}-late"), None, STARTS_AT.plus_ms(1)).unwrap();
                prop_assert!(!late.admitted, "who comes later waits for the draw to end");
            }
        }
    }
}
