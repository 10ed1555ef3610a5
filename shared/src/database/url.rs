//! Parses `DATABASE_URL`.
//!
//! sqlx's own parser cannot be used alone: it resolves no IPv6 address, ignores unknown parameters, and replaces a
//! missing host by the environment. It gets the parts as parameters, whose meaning is the same.

use std::net::IpAddr;
use std::path::PathBuf;

use form_urlencoded::Serializer;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{Servers, tls};
use crate::config::Setting;
use crate::config::connection_url::{
    Address, ConnectionUrl, UrlError, UrlForm, parse_host, parse_ipv6, parse_port,
};

const FORM: UrlForm = UrlForm { schemes: &["postgres", "postgresql"], path: "the database", is_parameter };

/// libpq's parameter for a URL with several hosts.
const TARGET_SESSION_ATTRS: &str = "target_session_attrs";

fn is_parameter(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "host",
        "hostaddr",
        "port",
        "dbname",
        "user",
        "password",
        "options",
        "application_name",
        "sslmode",
        "ssl-mode",
        "sslrootcert",
        "ssl-root-cert",
        "ssl-ca",
        "sslcert",
        "ssl-cert",
        "sslkey",
        "ssl-key",
        "statement-cache-capacity",
        TARGET_SESSION_ATTRS,
    ];
    NAMES.contains(&name) || name.strip_prefix("options[").is_some_and(|rest| rest.ends_with(']'))
}

impl Setting for Servers {
    fn parse(text: &str) -> Option<Self> {
        Some(Self::new(parse(text).ok()?))
    }

    fn problem(text: &str) -> Option<String> {
        parse(text).err().map(|error| error.to_string())
    }

    // The servers differ only in their addresses.
    fn warnings(text: &str) -> Vec<String> {
        parse(text).ok().and_then(|servers| servers.first().map(tls::warnings)).unwrap_or_default()
    }

    fn secret_files(text: &str) -> Vec<(&'static str, PathBuf)> {
        parse(text).ok().and_then(|servers| servers.first().map(tls::secret_files)).unwrap_or_default()
    }
}

/// For programs that use one server.
impl Setting for PgConnectOptions {
    fn parse(text: &str) -> Option<Self> {
        only_server(text).ok()
    }

    fn problem(text: &str) -> Option<String> {
        only_server(text).err().map(|error| error.to_string())
    }

    fn warnings(text: &str) -> Vec<String> {
        only_server(text).map(|options| tls::warnings(&options)).unwrap_or_default()
    }

    fn secret_files(text: &str) -> Vec<(&'static str, PathBuf)> {
        only_server(text).map(|options| tls::secret_files(&options)).unwrap_or_default()
    }
}

fn only_server(text: &str) -> Result<PgConnectOptions, UrlError> {
    let mut servers = parse(text)?;
    let server = servers.pop().filter(|_| servers.is_empty());
    server.ok_or_else(|| UrlError::new("there are several hosts: write one"))
}

/// How to connect to each server, in the written order. Never empty.
fn parse(text: &str) -> Result<Vec<PgConnectOptions>, UrlError> {
    let url = ConnectionUrl::parse(text, &FORM)?;
    let addresses = addresses(&url)?;
    let has_database = url.path.as_ref().is_some_and(|path| !path.is_empty())
        || url.parameters.iter().any(|(name, _)| name == "dbname");
    if !has_database {
        return Err(UrlError::new("the name of the database is missing: write it after the host and a /"));
    }
    addresses.iter().map(|address| options(&url, address)).collect()
}

/// The addresses before the path. A parameter has precedence over the same part there. As in libpq, the parameters may be
/// lists, and a single port applies to all hosts.
fn addresses(url: &ConnectionUrl) -> Result<Vec<Address>, UrlError> {
    let list = |is_wanted: fn(&str) -> bool| {
        let last = url.parameters.iter().rfind(|(name, _)| is_wanted(name));
        last.map(|(name, values)| (name, values.split(',')))
    };
    let mut hosts: Vec<_> = url.addresses.iter().filter_map(|address| address.host.clone()).collect();
    if let Some((name, values)) = list(|name| matches!(name, "host" | "hostaddr")) {
        hosts = values.map(|value| parameter(name, value)).collect::<Result<_, _>>()?;
    }
    let mut ports: Vec<_> = url.addresses.iter().map(|address| address.port).collect();
    if let Some((_, values)) = list(|name| name == "port") {
        ports = values.map(|value| parse_port(value).map(Some)).collect::<Result<_, _>>()?;
    }
    if hosts.is_empty() {
        return Err(UrlError::new(
            "the host is missing (a Unix socket is written postgres:///database?host=/var/run/postgresql)",
        ));
    }
    if let [port] = *ports {
        ports = vec![port; hosts.len()];
    }
    if ports.len() != hosts.len() {
        return Err(UrlError::new("there should be one port, or one for each host"));
    }
    Ok(hosts.into_iter().zip(ports).map(|(host, port)| Address { host: Some(host), port }).collect())
}

fn options(url: &ConnectionUrl, address: &Address) -> Result<PgConnectOptions, UrlError> {
    // A later parameter has precedence, so a parameter has precedence over the same part before the `?`.
    let mut parts = Serializer::new(String::new());
    let mut append = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            parts.append_pair(name, value);
        }
    };
    append("host", address.host.as_deref());
    append("port", address.port.map(|port| port.to_string()).as_deref());
    append("user", url.user.as_deref());
    // A user without a password may log in by a certificate or a trusted address, so an empty one is none.
    append("password", url.password.as_deref().filter(|password| !password.is_empty()));
    append("dbname", url.path.as_deref().filter(|database| !database.is_empty()));
    for (name, value) in &url.parameters {
        // The first three are in `address`. The last one sqlx does not know; every session is verified to be writable.
        if !matches!(name.as_str(), "host" | "hostaddr" | "port" | TARGET_SESSION_ATTRS) {
            append(name, Some(&parameter(name, value)?));
        } else if name == TARGET_SESSION_ATTRS {
            parameter(name, value)?;
        }
    }
    let options: PgConnectOptions = format!("postgres:///?{}", parts.finish())
        .parse()
        .map_err(|_| UrlError::new("it is not understood"))?;
    let options = tls::verifying(options, &url.parameters)?;
    // PgBouncer refuses this start-up parameter, and no column is a floating-point number.
    Ok(options.extra_float_digits(None))
}

/// The value of a parameter, checked as far as sqlx would refuse it without a reason, or only when it connects.
fn parameter(name: &str, value: &str) -> Result<String, UrlError> {
    let invalid =
        |expected: &str| UrlError::new(format!("the parameter {name} is invalid: it should be {expected}"));
    match name {
        "host" if value.contains(':') => {
            return parse_ipv6(value.trim_start_matches('[').trim_end_matches(']'));
        }
        "host" => return parse_host(value),
        "hostaddr" if value.parse::<IpAddr>().is_err() => return Err(invalid("an IP address")),
        TARGET_SESSION_ATTRS if !matches!(value, "read-write" | "primary" | "any") => {
            return Err(invalid("read-write: these programs write (primary and any mean the same)"));
        }
        "user" | "dbname" if value.is_empty() => return Err(invalid("a name")),
        "sslmode" | "ssl-mode" if value.parse::<PgSslMode>().is_err() => {
            return Err(invalid("disable, allow, prefer, require, verify-ca or verify-full"));
        }
        "statement-cache-capacity" if value.parse::<usize>().is_err() => return Err(invalid("a number")),
        _ => tls::check_file(name, value).map_err(|error| UrlError::new(error.to_string()))?,
    }
    Ok(value.to_owned())
}

/// The address of the server, for messages.
pub(super) fn address(options: &PgConnectOptions) -> String {
    let (host, port) = (options.get_host(), options.get_port());
    match options.get_socket() {
        Some(directory) => format!("{}/.s.PGSQL.{port}", directory.display()),
        None if host.contains(':') => format!("[{host}]:{port}"),
        None => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;

    #[test]
    fn every_part_of_a_valid_url_is_used_as_it_was_written() {
        for (text, (user, database, address_of_server)) in [
            ("postgres://u:p@db:5433/hamro", ("u", "hamro", "db:5433")),
            ("postgresql://u@10.0.0.5/hamro", ("u", "hamro", "10.0.0.5:5432")),
            ("postgres://u:@db/hamro", ("u", "hamro", "db:5432")),
            ("postgres://u:p@[::1]/hamro", ("u", "hamro", "[::1]:5432")),
            ("postgres://u:p@[fe80::1%25eth0]:5433/hamro", ("u", "hamro", "[fe80::1%eth0]:5433")),
            ("postgres://u:p@one/hamro?host=fd00::5", ("u", "hamro", "[fd00::5]:5432")),
            ("postgres://u%40shop:%23%3F%2F%25%40%3A@db/ha%20mro", ("u@shop", "ha mro", "db:5432")),
            ("postgres://u:a@b:c@db/hamro", ("u", "hamro", "db:5432")),
            ("postgres://db/hamro?user=me@corp&password=p", ("me@corp", "hamro", "db:5432")),
            (
                "postgres://u@/hamro?host=/var/run/postgresql",
                ("u", "hamro", "/var/run/postgresql/.s.PGSQL.5432"),
            ),
            ("postgres://u@%2Frun%2Fpg:5433/hamro", ("u", "hamro", "/run/pg/.s.PGSQL.5433")),
            ("postgres:///?host=db&port=5433&dbname=hamro&user=u", ("u", "hamro", "db:5433")),
        ] {
            let options = only_server(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let found =
                (options.get_username(), options.get_database().unwrap_or_default(), &*address(&options));
            assert_eq!(found, (user, database, address_of_server), "{text}");
        }
    }

    #[test]
    fn a_url_with_several_hosts_names_one_server_for_each() {
        for (text, servers) in [
            (
                "postgres://u:p@one:5433,two:5434/hamro?target_session_attrs=read-write",
                &["one:5433", "two:5434"][..],
            ),
            ("postgres://u:p@one,two:5434,[::1]/hamro", &["one:5432", "two:5434", "[::1]:5432"]),
            ("postgres://u:p@one,two/hamro?port=5433&target_session_attrs=any", &["one:5433", "two:5433"]),
            ("postgres:///hamro?user=u&host=one,/run/pg&port=1,2", &["one:1", "/run/pg/.s.PGSQL.2"]),
            ("postgres://u:p@db:5433/hamro?target_session_attrs=primary", &["db:5433"]),
        ] {
            let found = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(found.iter().map(address).collect::<Vec<_>>(), servers, "{text}");
            assert!(found.iter().all(|server| server.get_username() == "u"), "{text}");
        }
        assert!(<PgConnectOptions as Setting>::parse("postgres://u:p@one,two/hamro").is_none());
    }

    #[test]
    fn tls_and_session_parameters_are_kept() {
        let authority = std::env::temp_dir().join(format!("hamro-ca-{:032x}", rand::random::<u128>()));
        std::fs::write(&authority, "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n").unwrap();
        let authority = authority.display().to_string();
        let url = format!(
            "postgres://u:p@db/hamro?sslmode=verify-full&sslrootcert={authority}&options=-c%20geqo%3Doff\
             &options[jit]=off&application_name=shop&statement-cache-capacity=5"
        );
        let options = only_server(&url).unwrap();
        std::fs::remove_file(&authority).unwrap();
        assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyFull));
        assert_eq!(options.get_options(), Some("-c geqo=off -c jit=off"));
        assert_eq!(options.get_application_name(), Some("shop"));
        assert!(format!("{options:?}").contains(&authority));
    }

    #[test]
    fn an_invalid_url_is_refused_with_the_part_that_is_wrong_and_without_the_password() {
        for (text, problem) in [
            ("hunter2", "start it with postgres:// or postgresql://"),
            ("mysql://u:hunter2@db/hamro", "start it with postgres:// or postgresql://"),
            ("'postgres://u:hunter2@db/hamro'", "in quotes"),
            ("postgres://u:hun\tter2@db/hamro", "control character"),
            ("postgres://u:hunter2#x@db/hamro", "a # in the password: write it as %23"),
            ("postgres://u:hunter2/x@db/hamro", "write / in the password as %2F"),
            ("postgres://u:1234/hunter2@db/hamro", "write / in the password as %2F"),
            ("postgres://u:hunter2?x@db/hamro", "write ? in the password as %3F"),
            ("postgres://u:1234?hunter2@db/hamro", "write ? in the password as %3F"),
            ("postgres://u:100%hunter2@db/hamro", "a % in the password: write it as %25"),
            ("postgres://u:hunter2@db", "the name of the database is missing"),
            ("postgres://u:hunter2@db/?sslmode=require", "the name of the database is missing"),
            ("postgres://u:hunter2@/hamro", "the host is missing"),
            ("postgres:///hamro", "the host is missing"),
            ("postgres://u:hunter2@:5432/hamro", "the host is missing"),
            ("postgres://u:hunter2@one,/hamro", "a host is missing before or after a comma"),
            ("postgres://u:hunter2@one,two/hamro?port=1,2,3", "one port, or one for each host"),
            ("postgres://u:hunter2@one,two/hamro?target_session_attrs=standby", "these programs write"),
            ("postgres://u:hunter2@::1/hamro", "write an IPv6 address in brackets"),
            ("postgres://u:hunter2@db:54321x/hamro", "the port is not a number from 1 to 65535"),
            ("postgres://u:hunter2@db:70000/hamro", "the port is not a number from 1 to 65535"),
            ("postgres://u:hunter2@db:/hamro", "the port is empty"),
            ("postgres://u:hunter2@db/hamro?port=0", "the port is not a number from 1 to 65535"),
            ("postgres://u:hunter2@db/hamro?sslmod=require", "parameter sslmod after the ? is not supported"),
            (
                "postgres://u:hunter2@db/hamro?sslmode=yes",
                "disable, allow, prefer, require, verify-ca or verify-full",
            ),
            ("postgres://u:hunter2@db/hamro?sslrootcert=/nowhere", "sslrootcert: /nowhere does not exist"),
            ("postgres://u:hunter2@db/hamro?ssl-ca=/dev/null", "sslrootcert: /dev/null is empty"),
            ("postgres://u:hunter2@db/hamro?sslkey=/tmp", "sslkey: /tmp is a directory"),
            ("postgres://u:hunter2@db/hamro?hostaddr=db", "the parameter hostaddr is invalid"),
            ("postgres://u:hunter2@db/hamro?host=a,b:1", "the host in brackets is not an IPv6 address"),
        ] {
            let mut env = Env::of(&[("DATABASE_URL", text)]);
            let read: Option<Servers> = env.variable("DATABASE_URL", "", "postgres://…").required();
            let error = env.finish(read).err().unwrap_or_else(|| panic!("{text} is accepted")).to_string();
            assert!(error.contains(problem), "{text}: {error}");
            assert!(
                error.contains("DATABASE_URL is invalid: ") && error.contains("it should be "),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }
}
