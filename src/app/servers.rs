//! `seckill check-config --servers`: what a start would ask of PostgreSQL and Redis, without a start.

use super::shared_stock::try_out;
use crate::config::Settings;
use crate::domain::NodeId;
use crate::exit::{Exit, Failure};
use crate::ledger::redis::{Eviction, RedisBooks, RedisFault, RedisLink};
use crate::orders::postgres;
use crate::terminal;

/// Asks each server of the configuration whether an engine could sell there, and prints what it says. Nothing is changed but
/// for a key of Redis that is gone afterwards.
///
/// # Errors
/// An engine could not: what an operator has to change ([`Exit::Config`]), or that a server is away or cannot at the moment
/// ([`Exit::Unavailable`]).
pub fn check(settings: &Settings) -> Result<(), Failure> {
    let node = NodeId::new(settings.node.id);
    let node = node.ok_or_else(|| Failure::new(Exit::Config, "node.id is too high"))?;
    let mut asked = Vec::new();
    if !settings.postgres.url.is_empty() {
        asked.push(
            ask_postgres(settings, node)
                .map(|but| format!("# PostgreSQL: an engine can sell from it{but}\n")),
        );
    }
    if settings.is_shared() {
        asked.push(ask_redis(settings).map(|but| format!("# Redis: it lends{but}\n")));
    }
    if asked.is_empty() {
        asked.push(Ok("# no servers: the order store is a folder\n".to_owned()));
    }
    let (mut said, mut failures) = (String::new(), Vec::new());
    for answer in asked {
        match answer {
            Ok(answer) => said.push_str(&answer),
            Err(failure) => failures.push(failure),
        }
    }
    terminal::print(&said).map_err(|error| Failure::new(Exit::Io, error))?;
    // What has to be changed counts more than what may pass.
    let exit = failures.iter().map(|failure| failure.exit).max_by_key(|exit| *exit == Exit::Config);
    let problems: Vec<_> = failures.into_iter().map(|failure| failure.problem).collect();
    exit.map_or(Ok(()), |exit| Err(Failure::new(exit, problems.join("\nseckill: "))))
}

fn ask_postgres(settings: &Settings, node: NodeId) -> Result<String, Failure> {
    let durability = postgres::inspect(&settings.postgres, node).map_err(|error| {
        let exit = if error.is_transient() { Exit::Unavailable } else { Exit::Config };
        Failure::new(exit, format_args!("the order store: {error}"))
    })?;
    Ok(durability.doubt().map_or_else(String::new, |doubt| format!(", but {doubt}")))
}

fn ask_redis(settings: &Settings) -> Result<String, Failure> {
    let asked = async {
        let books = RedisBooks::new(RedisLink::new(&settings.redis)?);
        try_out(&books, &settings.relay.stream).await
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let eviction = runtime.map_err(Failure::at_start("asking Redis"))?.block_on(asked).map_err(|fault| {
        let exit = match fault {
            RedisFault::Away(_) | RedisFault::Unable(_) => Exit::Unavailable,
            _ => Exit::Config,
        };
        Failure::new(exit, format_args!("the shared ledger: {fault}"))
    })?;
    Ok(match eviction {
        Eviction::Never => String::new(),
        Eviction::NotNow(said) | Eviction::Books(said) => format!(", but {said}"),
    })
}
