//! Calls by gRPC: how many, and how they ended.

use std::sync::Arc;

use super::counter::{Counter, Gauge};
use super::exposition::{Exposition, Kind};

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcMethod {
    /// Buying.
    Purchase,
    /// Looking an order up.
    GetOrder,
    /// Paying.
    Checkout,
    /// A sale's state.
    GetSale,
    /// Events; counted when their follower goes.
    FollowEvents,
}

impl GrpcMethod {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Purchase, Self::GetOrder, Self::Checkout, Self::GetSale, Self::FollowEvents];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Purchase => "Purchase",
            Self::GetOrder => "GetOrder",
            Self::Checkout => "Checkout",
            Self::GetSale => "GetSale",
            Self::FollowEvents => "FollowEvents",
        }
    }
}

/// The names of the codes that calls end with, by number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
/// The number of the code of who went away.
const CANCELLED: usize = 1;

/// Calls, connections and followers.
#[derive(Debug, Default)]
pub struct GrpcRecords {
    calls: [[Counter; CODES.len()]; GrpcMethod::ALL.len()],
    /// Connections that are open.
    pub connections: Gauge,
    /// Connections that were closed at once, because as many were open as may be.
    pub connections_refused: Counter,
    /// Who follows events now.
    pub followers: Gauge,
}

impl GrpcRecords {
    /// A call begins.
    pub fn begin(self: &Arc<Self>, method: GrpcMethod) -> GrpcCall {
        GrpcCall { records: Arc::clone(self), method, code: CANCELLED }
    }

    /// How many calls of a method have ended with the code of this number.
    pub fn count(&self, method: GrpcMethod, code: usize) -> u64 {
        self.calls[method as usize][code].value()
    }
}

/// A call under way. Counted when dropped: as one whose caller went away, unless it has ended otherwise.
#[derive(Debug)]
pub struct GrpcCall {
    records: Arc<GrpcRecords>,
    method: GrpcMethod,
    code: usize,
}

impl GrpcCall {
    /// It ends with the code of this number.
    pub fn end(&mut self, code: usize) {
        self.code = code.min(CODES.len() - 1);
    }
}

impl Drop for GrpcCall {
    fn drop(&mut self) {
        self.records.calls[self.method as usize][self.code].increment();
    }
}

impl Exposition {
    /// Calls by gRPC, of those methods and codes that have occurred.
    pub fn grpc(&mut self, records: &GrpcRecords) {
        const CALLS: &str = "seckill_grpc_calls_total";
        self.family(CALLS, Kind::Counter, "Calls by gRPC by method and by the code that they ended with.");
        for method in GrpcMethod::ALL {
            for (number, code) in CODES.into_iter().enumerate() {
                let count = records.count(method, number);
                // OK is always there: a rate needs its zero.
                if count > 0 || number == 0 {
                    self.sample(CALLS, &[("method", method.name()), ("code", code)], count as f64);
                }
            }
        }
        const OPEN: &str = "seckill_grpc_connections";
        self.family(OPEN, Kind::Gauge, "Connections that are open for gRPC.");
        self.sample(OPEN, &[], records.connections.value() as f64);
        const REFUSED: &str = "seckill_grpc_connections_refused_total";
        let help = "Connections for gRPC that were closed at once because as many were open as may be.";
        self.family(REFUSED, Kind::Counter, help);
        self.sample(REFUSED, &[], records.connections_refused.value() as f64);
        const FOLLOWERS: &str = "seckill_grpc_followers";
        self.family(FOLLOWERS, Kind::Gauge, "Who follows events by gRPC now.");
        self.sample(FOLLOWERS, &[], records.followers.value() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_counted_when_it_is_over_by_how_it_ended() {
        let records = Arc::new(GrpcRecords::default());
        let mut served = records.begin(GrpcMethod::GetSale);
        assert_eq!(records.count(GrpcMethod::GetSale, 0), 0);
        served.end(0);
        drop(served);
        drop(records.begin(GrpcMethod::Purchase));
        let mut page = Exposition::default();
        page.grpc(&records);
        let page = page.into_text();
        for line in [
            "seckill_grpc_calls_total{method=\"GetSale\",code=\"OK\"} 1",
            "seckill_grpc_calls_total{method=\"Purchase\",code=\"OK\"} 0",
            "seckill_grpc_calls_total{method=\"Purchase\",code=\"CANCELLED\"} 1",
        ] {
            assert!(page.lines().any(|told| told == line), "{line}\n{page}");
        }
    }
}
