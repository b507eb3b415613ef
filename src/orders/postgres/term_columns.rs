//! The terms of a sale as columns, in the order in which both statements that write them name them.

use super::rows::{self, column};
use super::session::Parameter;
use crate::domain::{RoomFailure, SaleTerms, Units};

/// Terms and total as columns.
#[derive(PartialEq)]
pub(super) struct TermColumns<'a> {
    title: String,
    price: i64,
    currency: &'a str,
    per_buyer_limit: i32,
    starts_at: i64,
    ends_at: i64,
    pay_within_s: i32,
    rate_per_s: Option<i32>,
    burst: Option<i32>,
    paused: bool,
    total: i32,
    paused_until: Option<i64>,
    room_mode: Option<i16>,
    room_opens_at: Option<i64>,
    room_rate_per_s: Option<i32>,
    room_grace_s: Option<i32>,
    room_holds: Option<bool>,
    room_seed: Option<Vec<u8>>,
    room_beacon: Option<i16>,
    room_beacon_round: Option<i64>,
    room_beacon_wait_s: Option<i32>,
}

impl<'a> TermColumns<'a> {
    pub(super) fn of(terms: &'a SaleTerms, total: Units) -> Self {
        let room = terms.room.as_ref();
        let beacon = room.and_then(|room| room.beacon);
        Self {
            title: rows::text(&terms.title),
            price: column(terms.price.0),
            currency: terms.currency.as_str(),
            per_buyer_limit: column(terms.per_buyer_limit),
            starts_at: terms.starts_at.0,
            ends_at: terms.ends_at.0,
            pay_within_s: column(terms.pay_within_s),
            rate_per_s: terms.rate.map(|rate| column(rate.per_s)),
            burst: terms.rate.map(|rate| column(rate.burst)),
            paused: terms.paused,
            total: column(total),
            paused_until: terms.paused_until.map(|until| until.0),
            room_mode: room.map(|room| room.mode.code().into()),
            room_opens_at: room.and_then(|room| room.opens_at).map(|at| at.0),
            room_rate_per_s: room.and_then(|room| room.rate_per_s).map(column),
            room_grace_s: room.map(|room| column(room.grace_s)),
            room_holds: room.map(|room| room.on_failure == RoomFailure::Hold),
            room_seed: room.map(|room| room.seed.0.to_vec()),
            room_beacon: beacon.map(|beacon| beacon.source.code().into()),
            room_beacon_round: beacon.map(|beacon| column(beacon.round)),
            room_beacon_wait_s: beacon.map(|beacon| column(beacon.wait_s)),
        }
    }

    pub(super) fn parameters(&self) -> [Parameter<'_>; 21] {
        [
            &self.title,
            &self.price,
            &self.currency,
            &self.per_buyer_limit,
            &self.starts_at,
            &self.ends_at,
            &self.pay_within_s,
            &self.rate_per_s,
            &self.burst,
            &self.paused,
            &self.total,
            &self.paused_until,
            &self.room_mode,
            &self.room_opens_at,
            &self.room_rate_per_s,
            &self.room_grace_s,
            &self.room_holds,
            &self.room_seed,
            &self.room_beacon,
            &self.room_beacon_round,
            &self.room_beacon_wait_s,
        ]
    }
}
