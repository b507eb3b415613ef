//! Values that are right each by itself and wrong together: an engine does not start with them.

use super::error::Problem;
use super::settings::Settings;
use crate::edge::AuthMode;

impl Settings {
    /// What contradicts each other among the sections. What is wrong within one section its own check finds.
    pub(super) fn contradictions(&self) -> Vec<Problem> {
        let Self { store, checkout, relay, redis, ledger, edge, grpc, .. } = self;
        let mut found = Vec::new();
        let mut refuse = |is_wrong: bool, key: &str, text: String| {
            if is_wrong {
                found.push(Problem { key: key.into(), origin: String::new(), text });
            }
        };
        let (batch_max, steps_max) = (checkout.expiry.batch_max, store.steps_max);
        refuse(
            batch_max > steps_max.div_ceil(2),
            "checkout.expiry.batch_max",
            format!(
                "is {batch_max}, more than half of store.steps_max, which is {steps_max}: orders that expire would leave \
                 no room for payments; lower it to {}, or raise store.steps_max",
                steps_max.div_ceil(2)
            ),
        );
        let recovery = checkout.recovery.concurrency_max;
        refuse(
            recovery > steps_max,
            "checkout.recovery.concurrency_max",
            format!(
                "is {recovery}, above store.steps_max, which is {steps_max}: recovered payments could not all be \
                 written down; lower it, or raise store.steps_max"
            ),
        );
        let (batch, kept) = (relay.batch_events_max as u64, relay.stream_events_max);
        refuse(
            batch > kept,
            "relay.batch_events_max",
            format!(
                "is {batch}, above relay.stream_events_max, which is {kept}: the stream would drop events in the moment \
                 they are sent; lower it, or raise relay.stream_events_max"
            ),
        );
        let (answer_ms, silent_ms) = (redis.answer_ms_max, ledger.silent_ms_max);
        refuse(
            self.is_shared() && answer_ms >= silent_ms,
            "redis.answer_ms_max",
            format!(
                "is {answer_ms}, not below ledger.silent_ms_max, which is {silent_ms}: a node would be given up while it \
                 waits for one answer; lower it, or raise ledger.silent_ms_max"
            ),
        );
        let is_named_by_anybody = edge.auth.mode == AuthMode::TrustedHeader
            && !edge.auth.has_origin_secret()
            && !edge.auth.insecure;
        refuse(
            grpc.is_exposed() && is_named_by_anybody,
            "grpc.listen",
            format!(
                "is {}, and anyone who reaches it could buy in any buyer's name; set grpc.tls.client_ca_file, so that callers \
                 show a certificate, or edge.auth.origin_secret, edge.auth.mode = \"jwt\" or edge.auth.insecure = true, which \
                 count for both",
                grpc.listen.map_or_else(String::new, |listen| listen.to_string())
            ),
        );
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<String> {
        let settings: Settings = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        settings.check().into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn d8_settings_that_contradict_each_other_do_not_start() {
        let cases = [
            ("store.steps_max = 100\ncheckout.expiry.batch_max = 51", "checkout.expiry.batch_max"),
            (
                "store.steps_max = 60\ncheckout.expiry.batch_max = 30\ncheckout.recovery.concurrency_max = 61",
                "checkout.recovery.concurrency_max",
            ),
            ("relay.stream_events_max = 100\nrelay.batch_events_max = 101", "relay.batch_events_max"),
            (
                "redis.url = 'redis://r'\npostgres.url = 'postgres://p/d'\nredis.answer_ms_max = 10000",
                "redis.answer_ms_max",
            ),
            ("checkout.allow_simulated = true\ngrpc.listen = '0.0.0.0:1'", "grpc.listen"),
        ];
        for (text, key) in cases {
            assert_eq!(keys(text), [key], "{text}");
        }
        assert_eq!(keys(""), [""; 0]);
        assert_eq!(
            keys(
                "store.steps_max = 100\ncheckout.expiry.batch_max = 50\ncheckout.recovery.concurrency_max = 1"
            ),
            [""; 0]
        );
        assert_eq!(keys("redis.answer_ms_max = 10000"), [""; 0], "nobody shares anything");
        assert_eq!(keys("grpc.listen = '0.0.0.0:1'"), ["checkout.allow_simulated", "grpc.listen"]);
        assert_eq!(keys("grpc.listen = '127.0.0.1:1'"), [""; 0], "only this machine reaches it");
    }
}
