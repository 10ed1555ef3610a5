//! Which history of writes a server continues, to recognise a primary that was replaced by a failover.
//!
//! Every promotion begins a new timeline, whose number is larger. A primary that was replaced and returns writable still
//! has the earlier one: what is sold there would be sold twice. A process that has used a timeline therefore refuses
//! servers of the same cluster that are on an earlier one.

use sqlx::postgres::PgConnection;
use sqlx::{Error, Row};

/// A cluster and its timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct History {
    /// Equal on a primary and its standbys.
    pub system: i64,
    pub timeline: u32,
}

impl History {
    /// Reads it, from a server that accepts writes. `None` if this server does not tell it: some hosting providers revoke
    /// the right.
    pub async fn of(connection: &mut PgConnection) -> Result<Option<Self>, Error> {
        // A simple query needs no prepared statement. The first eight digits of a log file's name are the timeline, which
        // pg_control_checkpoint() tells only after the first checkpoint.
        let query = "SELECT system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()";
        let row = match sqlx::raw_sql(query).fetch_one(connection).await {
            Ok(row) => row,
            Err(Error::Database(error)) if !error.code().is_some_and(|code| code.starts_with("57")) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let (system, timeline): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        Ok(u32::from_str_radix(&timeline, 16).ok().map(|timeline| Self { system, timeline }))
    }

    /// Why a server with this history is not used by a process that has used a server with the history `seen`.
    pub fn objection(self, seen: Self) -> Option<String> {
        if self.system != seen.system {
            Some(
                "it is not a copy of the server that this process has used. If that is intended, restart this process"
                    .to_owned(),
            )
        } else if self.timeline < seen.timeline {
            Some(format!(
                "it accepts writes, but another server has replaced it: its timeline is {}, and this process has used \
                 timeline {}. Stop it. If it is meant to be used again, after a restore for example, restart this process",
                self.timeline, seen.timeline
            ))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_an_earlier_timeline_or_of_another_cluster_is_refused() {
        let history = |system, timeline| History { system, timeline };
        let seen = history(7, 2);
        assert_eq!(history(7, 2).objection(seen), None);
        assert_eq!(history(7, 3).objection(seen), None);
        assert!(history(7, 1).objection(seen).unwrap().contains("its timeline is 1"));
        assert!(history(8, 2).objection(seen).unwrap().contains("not a copy"));
    }
}
