//! How many files and sockets the process may have open, and whose they are.
//!
//! Buyers' connections are the only thing that grows with the crowd. When they took the last descriptor, operators,
//! the order store and the payment gateway could open nothing any more, and everybody would time out.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::checkout::ServiceKind;
use crate::config::{Config, Origin, Settings};
use crate::exit::{Exit, Failure};

/// Log, signals, timers, the database's own files, name look-ups, and some for what nobody thought of.
const FIXED: u64 = 64;
/// Listener, poller, waker and timer of a serving thread.
const OF_A_THREAD: u64 = 4;
/// Database, log and index of an embedded store's connection.
const OF_AN_EMBEDDED_READER: u64 = 3;
/// Connections to services that are asked for many buyers at once get at most this share of the limit.
const SERVICES_SHARE: u64 = 4;

/// Raises the soft limit to the hard one. Where that is refused, the soft one stays the limit. Returns the limit.
pub(super) fn raise_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return u64::MAX };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// The settings with connections that fit below `limit`: a default is lowered with a word in the log.
///
/// # Errors
/// `edge.connections_max` was set, and does not fit.
pub(super) fn fit(config: &Config, limit: u64) -> Result<Settings, Failure> {
    let mut settings = config.settings.clone();
    // An eighth of a tight limit is enough for operators who did not say what they need.
    let admin_max = usize::try_from(limit / 8).unwrap_or(usize::MAX).max(8);
    if settings.admin.connections_max > admin_max && is_default(config, "admin.connections_max") {
        settings.admin.connections_max = admin_max;
    }
    let unknown_max = (admin_max / 4).max(4);
    if settings.admin.unknown_connections_max > unknown_max
        && is_default(config, "admin.unknown_connections_max")
    {
        settings.admin.unknown_connections_max = unknown_max;
    }
    let reserve = reserve(&settings, limit);
    // Refused connections are open for a moment, too: an eighth on top.
    let most = usize::try_from(limit.saturating_sub(reserve) / 9 * 8).unwrap_or(usize::MAX);
    let asked = settings.edge.connections_max;
    if asked <= most {
        return Ok(settings);
    }
    let needed = asked as u64 + asked as u64 / 8 + reserve + 1;
    let raise = format!("raise the limit to {needed} (ulimit -n, LimitNOFILE=, --ulimit nofile=)");
    if most == 0 || !is_default(config, "edge.connections_max") {
        let origin = config.origin("edge.connections_max");
        return Err(Failure::new(
            Exit::Config,
            format_args!(
                "edge.connections_max ({origin}): is {asked}, but the process may have {limit} files open, and {reserve} \
                 of them are for the admin plane, the order store and services; {raise}, or set this to {most} or lower"
            ),
        ));
    }
    tracing::warn!(
        limit,
        connections_max = most,
        "edge.connections_max is {asked} by default and lowered to what the limit of open files leaves; {raise}, or set it"
    );
    settings.edge.connections_max = most;
    Ok(settings)
}

fn is_default(config: &Config, key: &str) -> bool {
    config.origin(key) == Origin::Default
}

/// What is not for buyers' connections.
fn reserve(settings: &Settings, limit: u64) -> u64 {
    let checkout = &settings.checkout;
    let services = [checkout.gateway.kind, checkout.risk.kind];
    let services = services.into_iter().filter(|&kind| kind == ServiceKind::Http).count() as u64;
    let calls = (services * checkout.attempts_max as u64).min(limit / SERVICES_SHARE);
    let store = if settings.postgres.url.is_empty() {
        (u64::from(settings.sqlite.readers) + 1) * OF_AN_EMBEDDED_READER
    } else {
        // A reading that nobody waits for any more is cancelled over a connection of its own.
        let cancels = settings.admin.store_reads_max as u64;
        u64::from(settings.postgres.readers) + settings.store.writers as u64 + cancels
    };
    // Callers that are known, those that are not, and as many whose probes are being answered.
    let admin = &settings.admin;
    let admin = admin.connections_max as u64 + 2 * admin.unknown_connections_max as u64;
    let grpc = settings.grpc.listen.map_or(0, |_| settings.grpc.connections_max as u64 + OF_A_THREAD);
    FIXED + settings.edge.serving_threads() as u64 * OF_A_THREAD + admin + store + calls + grpc
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigSource;

    fn config(vars: &[(&str, &str)]) -> Config {
        let vars = vars.iter().map(|(name, value)| (format!("SECKILL__{name}").into(), value.into()));
        ConfigSource::new(None).with_env(vars).unwrap().load().unwrap()
    }

    #[test]
    fn a_default_is_lowered_and_what_was_set_is_refused() {
        let threads = ("EDGE__THREADS", "2");
        let roomy = fit(&config(&[threads]), 1 << 20).unwrap();
        assert_eq!((roomy.edge.connections_max, roomy.admin.connections_max), (50_000, 256));
        for limit in [400, 1_024] {
            let settings = fit(&config(&[threads]), limit).unwrap();
            let connections = settings.edge.connections_max as u64;
            assert!(connections >= limit / 2, "{connections} of {limit}");
            assert!(
                connections + connections / 8 + reserve(&settings, limit) <= limit,
                "{connections} of {limit}"
            );
            let set = [threads, ("EDGE__CONNECTIONS_MAX", "1000")];
            let failure = fit(&config(&set), limit).unwrap_err();
            assert_eq!(failure.exit, Exit::Config);
            for word in ["edge.connections_max", "SECKILL__EDGE__CONNECTIONS_MAX", "ulimit -n"] {
                assert!(failure.problem.contains(word), "{}", failure.problem);
            }
            let fits = connections.to_string();
            fit(&config(&[threads, ("EDGE__CONNECTIONS_MAX", &fits)]), limit).unwrap();
        }
        // Too few for anybody.
        assert!(fit(&config(&[threads]), 64).is_err());
    }

    #[test]
    fn d3_every_kind_of_place_of_the_admin_port_is_kept_free() {
        let most = |vars: &[(&str, &str)]| fit(&config(vars), 4_096).unwrap().edge.connections_max;
        let usual = most(&[("EDGE__THREADS", "1")]);
        // 0.8 of a buyer's connection for each descriptor that somebody else needs, and some for rounding.
        for (key, own) in [("ADMIN__CONNECTIONS_MAX", 1), ("ADMIN__UNKNOWN_CONNECTIONS_MAX", 2)] {
            assert!(most(&[("EDGE__THREADS", "1"), (key, "900")]) + 500 * own < usual, "{key}");
        }
        let tight = fit(&config(&[("EDGE__THREADS", "1")]), 400).unwrap();
        assert_eq!((tight.admin.connections_max, tight.admin.unknown_connections_max), (50, 12));
    }

    #[test]
    fn services_that_are_called_have_their_share() {
        let http = [
            ("CHECKOUT__GATEWAY__KIND", "http"),
            ("CHECKOUT__GATEWAY__HTTP__URL", "http://127.0.0.1:1"),
            ("EDGE__THREADS", "1"),
        ];
        let most = |vars: &[(&str, &str)]| fit(&config(vars), 4_096).unwrap().edge.connections_max;
        assert!(most(&http) + 800 < most(&http[2..]));
    }
}
