//! Parses `AMQP_URL`.

use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism};

use super::tls;
use crate::config::Setting;
use crate::config::connection_url::{Address, ConnectionUrl, UrlError, UrlForm};

pub(super) const FORM: UrlForm = UrlForm {
    schemes: &["amqp", "amqps"],
    path: "the virtual host",
    is_parameter: |name| {
        matches!(name, "heartbeat" | "frame_max" | "channel_max" | "connection_timeout" | "auth_mechanism")
            || tls::is_parameter(name)
    },
};

/// The virtual host of a URL that names none, as in the specification of these URLs. So are the user and its password.
const DEFAULT_VIRTUAL_HOST: &str = "/";

/// The nodes of the broker, which differ only in their addresses: one, or several of a cluster.
#[derive(Clone, Debug)]
pub struct BrokerUrl(Vec<AMQPUri>);

impl BrokerUrl {
    /// At least one.
    pub fn nodes(&self) -> &[AMQPUri] {
        &self.0
    }

    /// One for each node.
    pub fn split(&self) -> impl Iterator<Item = Self> {
        self.0.iter().map(|node| Self(vec![node.clone()]))
    }
}

impl Setting for BrokerUrl {
    fn parse(text: &str) -> Option<Self> {
        parse(text).ok()
    }

    fn problem(text: &str) -> Option<String> {
        parse(text).err().map(|error| error.to_string())
    }
}

fn parse(text: &str) -> Result<BrokerUrl, UrlError> {
    let url = ConnectionUrl::parse(text, &FORM)?;
    let scheme = if url.scheme == "amqps" { AMQPScheme::AMQPS } else { AMQPScheme::AMQP };
    let userinfo = user_info(&url)?;
    let vhost = match url.path.as_deref() {
        None => DEFAULT_VIRTUAL_HOST.to_owned(),
        Some("") => {
            return Err(UrlError::new(
                "the virtual host is empty: write %2f for the default one, which is named /",
            ));
        }
        Some(name) => name.to_owned(),
    };
    let query = query(&url.parameters)?;
    let mut nodes: Vec<AMQPUri> = Vec::new();
    for Address { host, port } in &url.addresses {
        let host = host.as_ref().filter(|host| !host.starts_with('/'));
        let host = host.ok_or_else(|| UrlError::new("the host is missing"))?.clone();
        let port = port.map_or(scheme.default_port(), Into::into);
        if nodes.iter().any(|AMQPUri { authority, .. }| {
            authority.host.eq_ignore_ascii_case(&host) && authority.port == port
        }) {
            return Err(UrlError::new(format!("the host {host} is named twice with the port {port}")));
        }
        let authority = AMQPAuthority { userinfo: userinfo.clone(), host, port };
        nodes.push(AMQPUri { scheme: scheme.clone(), authority, vhost: vhost.clone(), query: query.clone() });
    }
    Ok(BrokerUrl(nodes))
}

fn user_info(url: &ConnectionUrl) -> Result<AMQPUserInfo, UrlError> {
    match (&url.user, url.password.as_deref()) {
        (None, _) => Ok(AMQPUserInfo::default()),
        // RabbitMQ refuses empty passwords.
        (Some(_), None | Some("")) => {
            Err(UrlError::new("the password is missing: write it after the user name and a colon"))
        }
        (Some(user), Some(password)) => {
            Ok(AMQPUserInfo { username: user.clone(), password: password.to_owned() })
        }
    }
}

fn query(parameters: &[(String, String)]) -> Result<AMQPQueryString, UrlError> {
    let mut query = AMQPQueryString::default();
    for (name, value) in parameters {
        let invalid = || UrlError::new(format!("the parameter {name} has an invalid value"));
        match name.as_str() {
            "heartbeat" => query.heartbeat = Some(value.parse().map_err(|_| invalid())?),
            "frame_max" => query.frame_max = Some(value.parse().map_err(|_| invalid())?),
            "channel_max" => query.channel_max = Some(value.parse().map_err(|_| invalid())?),
            "connection_timeout" => query.connection_timeout = Some(value.parse().map_err(|_| invalid())?),
            name if tls::is_parameter(name) => {}
            _ => query.auth_mechanism = Some(value.parse::<SASLMechanism>().map_err(|_| invalid())?),
        }
    }
    Ok(query)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;
    use crate::queue::tls::WithTls;

    /// The user, password, host, port and virtual host.
    fn parts(text: &str) -> (String, String, String, u16, String) {
        let url = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let [AMQPUri { authority, vhost, .. }] = url.nodes() else { panic!("{text}: {url:?}") };
        let AMQPAuthority { userinfo, host, port } = authority.clone();
        (userinfo.username, userinfo.password, host, port, vhost.clone())
    }

    #[test]
    fn every_part_of_a_valid_url_is_used_as_it_was_written() {
        for (text, (user, password, host, port, vhost)) in [
            ("amqp://u:p@rabbit:5673/%2f", ("u", "p", "rabbit", 5673, "/")),
            ("amqp://u:p@rabbit", ("u", "p", "rabbit", 5672, "/")),
            ("AMQP://u:p@10.0.0.5", ("u", "p", "10.0.0.5", 5672, "/")),
            ("amqps://u:p@rabbit_1.example.com/staging", ("u", "p", "rabbit_1.example.com", 5671, "staging")),
            ("amqp://rabbit", ("guest", "guest", "rabbit", 5672, "/")),
            ("amqp://u:p@rabbit/a%2Fb", ("u", "p", "rabbit", 5672, "a/b")),
            ("amqp://u:p@rabbit/a/b", ("u", "p", "rabbit", 5672, "a/b")),
            ("amqp://u:p@rabbit//", ("u", "p", "rabbit", 5672, "/")),
            ("amqp://u:p@[fd00::5]:5673/%2f", ("u", "p", "fd00::5", 5673, "/")),
            ("amqp://u:p@[::1]", ("u", "p", "::1", 5672, "/")),
            ("amqp://u:p@[fe80::1%25eth0]/v", ("u", "p", "fe80::1%eth0", 5672, "v")),
            ("amqp://u:p@[fe80::1%eth0]/v", ("u", "p", "fe80::1%eth0", 5672, "v")),
            ("amqp://u%40h:%23%3f%2F%25%40%3A@rabbit/v", ("u@h", "#?/%@:", "rabbit", 5672, "v")),
            ("amqp://u:a@b:c d+e@rabbit/v", ("u", "a@b:c d+e", "rabbit", 5672, "v")),
            ("amqp://u:नमस्ते@rabbit/v", ("u", "नमस्ते", "rabbit", 5672, "v")),
            ("amqp://u:p@rabbit/v?heartbeat=5&frame_max=8192", ("u", "p", "rabbit", 5672, "v")),
        ] {
            let expected = (user.to_owned(), password.to_owned(), host.to_owned(), port, vhost.to_owned());
            assert_eq!(parts(text), expected, "{text}");
        }
        let url =
            parse("amqp://u:p@rabbit/v?heartbeat=5&connection_timeout=900&auth_mechanism=plain").unwrap();
        let query = &url.nodes()[0].query;
        assert_eq!((query.heartbeat, query.connection_timeout), (Some(5), Some(900)));
    }

    #[test]
    fn every_node_of_a_url_has_its_own_address_and_everything_else_in_common() {
        let url = parse("amqps://u:p@one:5673,two,[::1]:5672,[::1],10.0.0.5/a,b?heartbeat=7").unwrap();
        let mut addresses = Vec::new();
        for AMQPUri { authority: AMQPAuthority { userinfo, host, port }, scheme, vhost, query } in url.nodes()
        {
            assert_eq!((userinfo.username.as_str(), userinfo.password.as_str()), ("u", "p"));
            assert_eq!(
                (scheme.clone(), vhost.as_str(), query.heartbeat),
                (AMQPScheme::AMQPS, "a,b", Some(7))
            );
            addresses.push((host.as_str(), *port));
        }
        let expected = [("one", 5673), ("two", 5671), ("::1", 5672), ("::1", 5671), ("10.0.0.5", 5671)];
        assert_eq!(addresses, expected);
    }

    #[test]
    fn an_invalid_url_is_refused_with_the_part_that_is_wrong_and_without_the_password() {
        for (text, problem) in [
            ("hunter2", "start it with amqp:// or amqps://"),
            ("amqp:u:hunter2@rabbit", "start it with amqp:// or amqps://"),
            ("http://u:hunter2@rabbit", "start it with amqp:// or amqps://"),
            ("\"amqp://u:hunter2@rabbit/v\"", "in quotes"),
            ("'amqp://u:hunter2@rabbit/v'", "in quotes"),
            ("amqp://u:hun\nter2@rabbit/v", "line break"),
            ("amqp://u:hunter2#x@rabbit/v", "a # in the password: write it as %23"),
            ("amqp://hunter2#x@rabbit/v", "a # in the user name: write it as %23"),
            ("amqp://u:hunter2@rabbit/v#1", "a # in the part after the host: write it as %23"),
            ("amqp://u:hunter2/x@rabbit/v", "write / in the password as %2F"),
            ("amqp://u:1234/hunter2@rabbit/v", "write / in the password as %2F"),
            ("amqp://u:a@hunter2/x@rabbit/v", "write / in the password as %2F"),
            ("amqp://u:hunter2?x@rabbit/v", "write ? in the password as %3F"),
            ("amqp://u:1234?hunter2@rabbit/v", "write ? in the password as %3F"),
            ("amqp://u:1234?heartbeat=5&hunter2@rabbit/v", "write ? in the password as %3F"),
            ("amqp://u:hunter2%x@rabbit/v", "a % in the password: write it as %25"),
            ("amqp://u:hunter2%@rabbit/v", "a % in the password: write it as %25"),
            ("amqp://u:hunter2%ff@rabbit/v", "the password is not UTF-8"),
            ("amqp://u%:hunter2@rabbit/v", "a % in the user name"),
            ("amqp://u:hunter2@rabbit/100%", "a % in the virtual host"),
            ("amqp://:hunter2@rabbit/v", "the user name before the @ is empty"),
            ("amqp://u@rabbit/v", "the password is missing"),
            ("amqp://u:@rabbit/v", "the password is missing"),
            ("amqp://u:hunter2@/v", "the host is missing"),
            ("amqp://u:hunter2@:5672/v", "the host is missing"),
            ("amqp://", "the host is missing"),
            ("amqp://u:hunter2@%2Frun%2Frabbit/v", "the host is missing"),
            ("amqp://u:hunter2@rab bit/v", "the host is not a name or an address"),
            ("amqp://u:hunter2@one,,two/v", "a host is missing before or after a comma"),
            ("amqp://u:hunter2@one,two,/v", "a host is missing before or after a comma"),
            ("amqp://u:hunter2@,one/v", "a host is missing before or after a comma"),
            ("amqp://u:hunter2@one,:5672/v", "a host is missing before or after a comma"),
            ("amqp://u:hunter2@one, two/v", "the host is not a name or an address"),
            ("amqp://u:hunter2@one,%2Frun/v", "the host is missing"),
            ("amqp://u:hunter2@one,two,one/v", "the host one is named twice with the port 5672"),
            ("amqp://u:hunter2@one,one:5672/v", "the host one is named twice with the port 5672"),
            ("amqp://u:hunter2@ONE,one/v", "the host one is named twice with the port 5672"),
            ("amqp://u:hunter2@one,two:/v", "the port is empty"),
            ("amqp://u:hunter2@one,two:99999/v", "the port is not a number"),
            ("amqp://u:hunter2@one,fd00::5/v", "write an IPv6 address in brackets"),
            (
                "amqp://u:hunter2@one,u:hunter2@two/v",
                "write the user name and the password once, before the first host",
            ),
            ("amqp://u:hunter2@one:5672,u:hunter2@two:5672/v", "write the user name and the password once"),
            (
                "amqp://u:hunter2@one,amqp://u:hunter2@two/v",
                "several URLs: write one, with commas between its hosts",
            ),
            (
                "amqp://u:hunter2@one/v,amqp://u:hunter2@two/v",
                "several URLs: write one, with commas between its hosts",
            ),
            (
                "amqp://u:hunter2@one:5672/%2f,two:5672/%2f",
                "a host after the virtual host: write all hosts before the /",
            ),
            ("amqp://u:hunter2@fd00::5/v", "write an IPv6 address in brackets"),
            ("amqp://u:hunter2@[fd00::5/v", "a [ without a ]"),
            ("amqp://u:hunter2@[fd00::g]/v", "not an IPv6 address"),
            ("amqp://u:hunter2@[10.0.0.5]/v", "not an IPv6 address"),
            ("amqp://u:hunter2@[fe80::1%25]/v", "not an IPv6 address"),
            ("amqp://u:hunter2@[fd00::5]5672/v", "only a : and a port may follow ]"),
            ("amqp://u:hunter2", "the port is not a number from 1 to 65535"),
            ("amqp://u:hunter2@rabbit:0/v", "the port is not a number"),
            ("amqp://u:hunter2@rabbit:65536/v", "the port is not a number"),
            ("amqp://u:hunter2@rabbit:+5672/v", "the port is not a number"),
            ("amqp://u:hunter2@rabbit:/v", "the port is empty"),
            ("amqp://u:hunter2@rabbit/", "write %2f for the default one"),
            ("amqp://u:hunter2@rabbit/?heartbeat=5", "write %2f for the default one"),
            ("amqp://u:hunter2@rabbit/v?cacertfile=/ca.pem", "start the URL with amqps://"),
            ("amqps://u:hunter2@rabbit/v?cacertfile=/nowhere", "/nowhere does not exist: create it"),
            ("amqps://u:hunter2@rabbit/v?cacertfile=/dev/null", "/dev/null is empty"),
            ("amqps://u:hunter2@rabbit/v?certfile=/c.pem", "certfile and keyfile belong together"),
            ("amqps://u:hunter2@rabbit/v?verify=verify_none", "the broker is always verified"),
            ("amqps://u:hunter2@rabbit/v?depth=2", "parameter depth after the ? is not supported"),
            ("amqp://u:hunter2@rabbit/v?heartbeat=5s", "the parameter heartbeat has an invalid value"),
        ] {
            let mut env = Env::of(&[("AMQP_URL", text)]);
            let read: Option<WithTls<BrokerUrl>> =
                env.variable("AMQP_URL", "", "amqp://…").secret().required();
            let error = env.finish(read).err().unwrap_or_else(|| panic!("{text} is accepted")).to_string();
            assert!(error.contains(problem), "{text}: {error}");
            assert!(
                error.contains("AMQP_URL is invalid: ") && error.contains("it should be amqp://…"),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }
}
