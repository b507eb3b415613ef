//! Whether the server's settings keep what it acknowledges.

use super::error::PgError;
use super::session::Session;

/// The settings that decide it: as they are for this session, and as a new session would find them.
const SETTINGS: &str = "SELECT coalesce(max(setting) FILTER (WHERE name = 'fsync'), ''), \
     coalesce(max(setting) FILTER (WHERE name = 'full_page_writes'), ''), \
     coalesce(max(setting) FILTER (WHERE name = 'synchronous_commit'), ''), \
     coalesce(max(reset_val) FILTER (WHERE name = 'synchronous_commit'), ''), \
     coalesce(max(setting) FILTER (WHERE name = 'synchronous_standby_names'), '') \
     FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'synchronous_standby_names')";

/// What a server does with commits. A server that does not know a setting has the empty text for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durability {
    fsync: String,
    full_page_writes: String,
    /// In this engine's sessions.
    synchronous_commit: String,
    /// In sessions that do not say otherwise.
    synchronous_commit_default: String,
    synchronous_standby_names: String,
}

impl Durability {
    pub(super) async fn read(session: &mut Session) -> Result<Self, PgError> {
        let Some(row) = session.row(SETTINGS, &[]).await? else { return Ok(Self::default()) };
        Ok(Self {
            fsync: row.try_get(0)?,
            full_page_writes: row.try_get(1)?,
            synchronous_commit: row.try_get(2)?,
            synchronous_commit_default: row.try_get(3)?,
            synchronous_standby_names: row.try_get(4)?,
        })
    }

    /// By which settings acknowledged orders may be lost, and what to do about it. `None` when they are kept.
    pub fn doubt(&self) -> Option<String> {
        let mut doubts = Vec::new();
        if self.fsync == "off" {
            doubts.push(
                "fsync = off: a crash of its machine loses acknowledged orders and may damage the database; set fsync = on \
                 (ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf())"
                    .to_owned(),
            );
        }
        if self.full_page_writes == "off" {
            doubts.push(
                "full_page_writes = off: a crash of its machine may damage the database, unless its file system writes pages \
                 as a whole; set full_page_writes = on"
                    .to_owned(),
            );
        }
        if self.synchronous_commit == "local" && !self.synchronous_standby_names.is_empty() {
            doubts.push(format!(
                "synchronous_commit = local: commits do not wait for the standbys of synchronous_standby_names ({}), and a \
                 failover loses acknowledged orders; set synchronous_commit = on for this user and database",
                self.synchronous_standby_names
            ));
        }
        (!doubts.is_empty()).then(|| format!("PostgreSQL has {}", doubts.join("; and it has ")))
    }

    /// Whether the engine's sessions wait for the disk although others do not.
    pub fn is_stricter_than_default(&self) -> bool {
        self.synchronous_commit_default == "off" && self.synchronous_commit != "off"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_loses_orders_is_a_doubt() {
        let sound = Durability {
            fsync: "on".into(),
            full_page_writes: "on".into(),
            synchronous_commit: "on".into(),
            ..Durability::default()
        };
        assert_eq!(sound.doubt(), None);
        let local = Durability { synchronous_commit: "local".into(), ..sound.clone() };
        assert_eq!(local.doubt(), None, "there is no standby to wait for");
        let past_standby = Durability { synchronous_standby_names: "b".into(), ..local };
        assert!(past_standby.doubt().unwrap().contains("synchronous_commit = local"));
        let careless = Durability { fsync: "off".into(), full_page_writes: "off".into(), ..sound.clone() };
        let said = careless.doubt().unwrap();
        assert!(said.contains("fsync = off") && said.contains("full_page_writes = off"), "{said}");
        let stricter = Durability { synchronous_commit_default: "off".into(), ..sound };
        assert!(stricter.is_stricter_than_default() && stricter.doubt().is_none());
    }
}
