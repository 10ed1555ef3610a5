//! A server of Postgres: its version, its role, its settings, and the rights of the login.

use sqlx::postgres::PgConnection;
use sqlx::{Error, FromRow};

use super::{SERVER, SessionLimit};
use crate::doctor::report::{Finding, problems_or_ok};

const SETTINGS: &str = "settings of Postgres";
const VERSION: &str = "version of Postgres";
const RIGHTS: &str = "role in Postgres";

/// The first version that is supported, and the first that was never tried.
const VERSIONS: (i32, i32) = (15, 18);

/// What a server says of itself. Not checked at compile time: the query must also run on a server without our schema.
#[derive(Debug, FromRow)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column of the query")]
pub struct Server {
    version: i32,
    is_standby: bool,
    is_read_only: bool,
    is_encrypted: bool,
    is_local: bool,
    role: String,
    is_superuser: bool,
    /// Tables, sequences and the like in the schema `public` that belong to another role.
    not_owned: i64,
    max_connections: i32,
    reserved: i32,
    /// Sessions of clients that are none of our programs.
    of_others: i64,
    fsync: String,
    full_page_writes: String,
    synchronous_commit: String,
    synchronous_standby_names: String,
    /// Those that are connected. `None`: this role may not see it.
    synchronous_standbys: Option<i64>,
    autovacuum: String,
    idle_session_timeout: String,
    isolation: String,
}

const QUERY: &str = "
    SELECT current_setting('server_version_num')::int / 10000 AS version,
           pg_is_in_recovery() AS is_standby,
           current_setting('transaction_read_only')::boolean AS is_read_only,
           COALESCE((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS is_encrypted,
           COALESCE(inet_client_addr() <<= '127.0.0.0/8' OR inet_client_addr() = '::1', true) AS is_local,
           current_user::text AS role,
           (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser,
           (SELECT count(*) FROM pg_class
            WHERE relnamespace = to_regnamespace('public') AND relkind IN ('r', 'p', 'S', 'v', 'm')
                  AND NOT pg_has_role(relowner, 'USAGE')) AS not_owned,
           current_setting('max_connections')::int AS max_connections,
           current_setting('superuser_reserved_connections')::int
               + COALESCE(current_setting('reserved_connections', true)::int, 0) AS reserved,
           (SELECT count(*) FROM pg_stat_activity
            WHERE backend_type = 'client backend' AND application_name NOT LIKE 'hamro-%') AS of_others,
           current_setting('fsync') AS fsync,
           current_setting('full_page_writes') AS full_page_writes,
           current_setting('synchronous_commit') AS synchronous_commit,
           current_setting('synchronous_standby_names') AS synchronous_standby_names,
           (SELECT CASE WHEN bool_or(sync_state IS NULL) THEN NULL
                        ELSE count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) END
            FROM pg_stat_replication) AS synchronous_standbys,
           current_setting('autovacuum') AS autovacuum,
           current_setting('idle_session_timeout') AS idle_session_timeout,
           current_setting('default_transaction_isolation') AS isolation";

impl Server {
    pub async fn read(connection: &mut PgConnection) -> Result<Self, Error> {
        sqlx::query_as(QUERY).fetch_one(connection).await
    }

    pub fn is_writable(&self) -> bool {
        !self.is_standby && !self.is_read_only
    }

    /// Whether it is what `DATABASE_URL` should name. `primaries` is the number of its servers that take writes.
    pub fn role(&self, primaries: usize) -> Finding {
        if self.is_writable() && primaries > 1 {
            let finding = "another server of DATABASE_URL takes writes too: sales are split between them";
            let remedy = "stop the older primary at once; it must not run again before it was made a standby (pg_rewind)";
            return Finding::error(SERVER, finding, remedy);
        }
        if self.is_standby && primaries > 0 {
            return Finding::ok(SERVER, "a standby");
        }
        if self.is_standby {
            let finding = "it is a standby, which takes no writes";
            let remedy = "name the primary in DATABASE_URL, also if this server is to become the primary later; \
                          or promote it (pg_ctl promote)";
            return Finding::error(SERVER, finding, remedy);
        }
        if self.is_read_only {
            let remedy = "ALTER SYSTEM RESET default_transaction_read_only, or the setting of the role or the database";
            return Finding::error(SERVER, "it was made read-only", remedy);
        }
        let encryption = if self.is_encrypted { "encrypted" } else { "not encrypted" };
        if !self.is_encrypted && !self.is_local {
            let finding = "the connection is not encrypted, and leaves this machine";
            let remedy =
                "add sslmode=verify-full and sslrootcert to DATABASE_URL, unless the network is trusted";
            return Finding::warning(SERVER, finding, remedy);
        }
        Finding::ok(SERVER, format!("takes writes; the connection is {encryption}"))
    }

    pub fn session_limit(&self) -> SessionLimit {
        let max = u64::try_from(self.max_connections - self.reserved).unwrap_or_default();
        SessionLimit { max, of_others: u64::try_from(self.of_others).unwrap_or_default() }
    }

    pub fn check(&self) -> Vec<Finding> {
        let mut findings = vec![version(self.version), self.rights()];
        findings.extend(self.settings());
        findings
    }

    fn rights(&self) -> Finding {
        let role = &self.role;
        if self.not_owned > 0 {
            let finding =
                format!("{role} does not own {} tables or sequences: it cannot migrate them", self.not_owned);
            let remedy = "docs/RUNBOOK.md: Give an existing installation a role without rights";
            return Finding::error(RIGHTS, finding, remedy);
        }
        if self.is_superuser {
            let finding =
                format!("{role} is a superuser: whoever takes over a program takes over the server");
            let remedy = "docs/RUNBOOK.md: Give an existing installation a role without rights";
            return Finding::warning(RIGHTS, finding, remedy);
        }
        Finding::ok(RIGHTS, format!("{role} owns the schema, and is no superuser"))
    }

    fn settings(&self) -> Vec<Finding> {
        let mut problems = Vec::new();
        let mut error =
            |finding: &str, remedy: &str| problems.push(Finding::error(SETTINGS, finding, remedy));
        if self.fsync == "off" {
            error(
                "fsync = off: a crash of the machine loses or damages sales",
                "ALTER SYSTEM SET fsync = on",
            );
        }
        if self.full_page_writes == "off" {
            let remedy = "ALTER SYSTEM SET full_page_writes = on, unless the file system prevents torn pages";
            error("full_page_writes = off: a crash of the machine may damage tables", remedy);
        }
        if self.synchronous_commit == "off" {
            let finding =
                "synchronous_commit = off: a crash loses sales of the last moments whose buyers were told";
            error(finding, "ALTER SYSTEM SET synchronous_commit = on");
        }
        if self.isolation != "read committed" {
            let finding =
                format!("default_transaction_isolation = {}: batches fail again and again", self.isolation);
            error(&finding, "reset it to read committed for this role and database");
        }
        let waits = !matches!(&*self.synchronous_commit, "off" | "local");
        if waits && !self.synchronous_standby_names.is_empty() && self.synchronous_standbys == Some(0) {
            let finding =
                "no synchronous standby is connected: every commit waits for one, and nothing is settled";
            let remedy =
                "start the standby; without one, ALTER SYSTEM RESET synchronous_standby_names and reload";
            error(finding, remedy);
        }
        let mut warning =
            |finding: &str, remedy: &str| problems.push(Finding::warning(SETTINGS, finding, remedy));
        if self.synchronous_commit == "local" && !self.synchronous_standby_names.is_empty() {
            let finding =
                "synchronous_commit = local: the synchronous standby may lack sales when it is promoted";
            warning(finding, "ALTER SYSTEM SET synchronous_commit = on");
        }
        if self.autovacuum == "off" {
            let finding = "autovacuum = off: tables grow, and queries become slow as they do";
            warning(finding, "ALTER SYSTEM SET autovacuum = on");
        }
        if self.idle_session_timeout != "0" {
            let finding = format!(
                "idle_session_timeout = {}: it ends sessions of the programs while nobody books",
                self.idle_session_timeout
            );
            warning(&finding, "ALTER ROLE … SET idle_session_timeout = 0, for the role of the programs");
        }
        let standby = match (&*self.synchronous_commit, &*self.synchronous_standby_names) {
            (_, "") => "no synchronous standby".to_owned(),
            (level, names) => format!("synchronous standby {names}, synchronous_commit = {level}"),
        };
        problems_or_ok(problems, || Finding::ok(SETTINGS, format!("commits are durable; {standby}")))
    }
}

fn version(version: i32) -> Finding {
    let (first, untried) = VERSIONS;
    if version < first {
        return Finding::error(
            VERSION,
            format!("{version} is not supported"),
            format!("upgrade to {first} or later"),
        );
    }
    if version >= untried {
        let remedy = "try the upgrade on a copy first (make test)";
        return Finding::warning(VERSION, format!("{version} is newer than all that were tried"), remedy);
    }
    Finding::ok(VERSION, version.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    fn server() -> Server {
        let text = |text: &str| text.to_owned();
        Server {
            version: 15,
            is_standby: false,
            is_read_only: false,
            is_encrypted: false,
            is_local: true,
            role: text("hamro"),
            is_superuser: false,
            not_owned: 0,
            max_connections: 100,
            reserved: 3,
            of_others: 1,
            fsync: text("on"),
            full_page_writes: text("on"),
            synchronous_commit: text("on"),
            synchronous_standby_names: text(""),
            synchronous_standbys: Some(0),
            autovacuum: text("on"),
            idle_session_timeout: text("0"),
            isolation: text("read committed"),
        }
    }

    fn worst(server: Server) -> Verdict {
        let findings = server.check().into_iter().chain([server.role(usize::from(server.is_writable()))]);
        findings.map(|finding| finding.verdict).max().unwrap()
    }

    #[test]
    fn a_usual_server_has_no_problem() {
        assert_eq!(worst(server()), Verdict::Ok);
        assert_eq!(worst(Server { is_encrypted: true, is_local: false, ..server() }), Verdict::Ok);
        assert_eq!(server().session_limit(), SessionLimit { max: 97, of_others: 1 });
    }

    #[test]
    fn a_standby_beside_a_primary_is_usual_and_two_primaries_are_an_error() {
        let standby = Server { is_standby: true, is_read_only: true, ..server() };
        assert_eq!(standby.role(0).verdict, Verdict::Error);
        assert_eq!(standby.role(1).verdict, Verdict::Ok);
        assert_eq!(server().role(1).verdict, Verdict::Ok);
        assert_eq!(server().role(2).verdict, Verdict::Error);
    }

    #[test]
    fn a_server_that_may_lose_sales_or_takes_no_writes_is_an_error() {
        let text = |text: &str| text.to_owned();
        for server in [
            Server { is_standby: true, is_read_only: true, ..server() },
            Server { is_read_only: true, ..server() },
            Server { fsync: text("off"), ..server() },
            Server { full_page_writes: text("off"), ..server() },
            Server { synchronous_commit: text("off"), ..server() },
            Server { isolation: text("serializable"), ..server() },
            Server { synchronous_standby_names: text("one"), ..server() },
            Server { not_owned: 1, ..server() },
            Server { version: 14, ..server() },
        ] {
            let description = format!("{server:?}");
            assert_eq!(worst(server), Verdict::Error, "{description}");
        }
    }

    #[test]
    fn what_makes_a_server_slower_or_less_safe_is_a_warning() {
        let text = |text: &str| text.to_owned();
        let local = Server { synchronous_commit: text("local"), ..server() };
        for server in [
            Server { is_superuser: true, ..server() },
            Server { is_local: false, ..server() },
            Server { synchronous_standby_names: text("one"), ..local },
            Server { autovacuum: text("off"), ..server() },
            Server { idle_session_timeout: text("1min"), ..server() },
            Server { version: 18, ..server() },
        ] {
            let description = format!("{server:?}");
            assert_eq!(worst(server), Verdict::Warning, "{description}");
        }
    }
}
