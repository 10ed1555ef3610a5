//! Splits the URL of a server (`DATABASE_URL`, `AMQP_URL`) into its parts, and says which part is wrong.
//!
//! Parsers of web addresses repair what they can: they drop line breaks, end a password at `#`, `/` or `?`, and report no
//! host for an address in brackets. A process would then run with another host or password than its operator wrote. So
//! this parser refuses what is not certain. Its errors contain no part of the URL, except names of parameters.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::num::NonZeroU16;

use percent_encoding::percent_decode_str;

/// What is wrong with a URL, and how to write it instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(Cow<'static, str>);

impl UrlError {
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self(text.into())
    }
}

type Result<T> = std::result::Result<T, UrlError>;

/// What a kind of URL may contain.
pub struct UrlForm {
    pub schemes: &'static [&'static str],
    /// What the path names.
    pub path: &'static str,
    pub is_parameter: fn(&str) -> bool,
}

/// The decoded parts of a URL.
#[derive(Debug, PartialEq, Eq)]
pub struct ConnectionUrl {
    /// In lower case.
    pub scheme: String,
    pub user: Option<String>,
    pub password: Option<String>,
    /// What is between the user and the path: one address, or several that are separated by commas.
    pub addresses: Vec<Address>,
    /// What follows the `/` after the host.
    pub path: Option<String>,
    /// The query.
    pub parameters: Vec<(String, String)>,
}

/// Where a server listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// A name, an address without brackets, or the path of a Unix socket.
    pub host: Option<String>,
    pub port: Option<NonZeroU16>,
}

impl ConnectionUrl {
    pub fn parse(text: &str, form: &UrlForm) -> Result<Self> {
        check_characters(text)?;
        let (scheme, rest) = split_scheme(text, form)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, after) = rest.split_at(end);
        check_delimiters(authority, after, form)?;
        check_commas(authority, after, form)?;
        let (path, query) = after.split_once('?').unwrap_or((after, ""));
        let (user_info, address) = match authority.rsplit_once('@') {
            Some((user_info, address)) => (Some(user_info), address),
            None => (None, authority),
        };
        let (user, password) = match user_info {
            Some(user_info) => parse_user_info(user_info)?,
            None => (None, None),
        };
        let addresses = parse_addresses(address)?;
        let path = path.strip_prefix('/').map(|path| decode(path, form.path)).transpose()?;
        let parameters = parse_parameters(query, form)?;
        Ok(Self { scheme, user, password, addresses, path, parameters })
    }

    /// The only address, for a server that has no others.
    pub fn only_address(&self) -> Result<&Address> {
        match &*self.addresses {
            [address] => Ok(address),
            _ => Err(several_hosts()),
        }
    }
}

/// Refuses what a URL never contains: quotes around it, as in a file that no shell reads, and line breaks.
fn check_characters(text: &str) -> Result<()> {
    if text.starts_with(['"', '\'']) || text.ends_with(['"', '\'']) {
        return Err(UrlError::new("it is in quotes: write it without them"));
    }
    if text.matches("://").count() > 1 {
        return Err(UrlError::new("it contains several URLs: write one, with commas between its hosts"));
    }
    if text.chars().any(char::is_control) {
        return Err(UrlError::new(
            "it contains a line break or another control character: write it in one line",
        ));
    }
    Ok(())
}

/// Refuses what looks like a list of hosts and would be read as something else.
fn check_commas(authority: &str, after: &str, form: &UrlForm) -> Result<()> {
    let user_info = authority.rsplit_once('@').map_or("", |(user_info, _)| user_info);
    if user_info.split_once('@').is_some_and(|(_, rest)| rest.contains(',')) {
        return Err(UrlError::new(
            "there is an @ before a comma: write the user name and the password once, before the first host \
             (or, in a password, @ as %40 and the comma as %2C)",
        ));
    }
    let path = after.split_once('?').map_or(after, |(path, _)| path);
    if path.split(',').skip(1).any(|host| host.contains([':', '/'])) {
        let path = form.path;
        return Err(UrlError::new(format!("there is a host after {path}: write all hosts before the /")));
    }
    Ok(())
}

fn split_scheme<'a>(text: &'a str, form: &UrlForm) -> Result<(String, &'a str)> {
    let split = text.split_once("://").map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
    split.filter(|(scheme, _)| form.schemes.contains(&scheme.as_str())).ok_or_else(|| {
        let schemes: Vec<_> = form.schemes.iter().map(|scheme| format!("{scheme}://")).collect();
        UrlError::new(format!("the scheme is missing or wrong: start it with {}", schemes.join(" or ")))
    })
}

/// Refuses `#`, `/` and `?` in a user name or password, which would end them.
fn check_delimiters(authority: &str, after: &str, form: &UrlForm) -> Result<()> {
    let credentials = if authority.contains(':') { "the password" } else { "the user name" };
    if let Some((before, rest)) = after.split_once('#') {
        let part =
            if rest.contains('@') && !before.contains('@') { credentials } else { "the part after the host" };
        return Err(UrlError::new(format!("there is a # in {part}: write it as %23")));
    }
    let (path, query) = after.split_once('?').unwrap_or((after, ""));
    let is_in_query = query.contains('@') && keys(query).any(|key| !(form.is_parameter)(&key));
    if path.contains('@') || is_in_query {
        let (delimiter, code) = if after.starts_with('/') { ('/', "%2F") } else { ('?', "%3F") };
        return Err(UrlError::new(format!(
            "there is an @ after a {delimiter}: write {delimiter} in {credentials} as {code}, and @ in {} as %40",
            form.path
        )));
    }
    Ok(())
}

fn parse_user_info(user_info: &str) -> Result<(Option<String>, Option<String>)> {
    let (user, password) = match user_info.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (user_info, None),
    };
    if user.is_empty() {
        return Err(UrlError::new("the user name before the @ is empty"));
    }
    let password = password.map(|password| decode(password, "the password")).transpose()?;
    Ok((Some(decode(user, "the user name")?), password))
}

fn parse_addresses(addresses: &str) -> Result<Vec<Address>> {
    let parsed: Vec<_> = addresses.split(',').map(parse_address).collect::<Result<_>>()?;
    if parsed.len() > 1 && parsed.iter().any(|address| address.host.is_none()) {
        return Err(UrlError::new("a host is missing before or after a comma"));
    }
    Ok(parsed)
}

fn parse_address(address: &str) -> Result<Address> {
    let (host, port) = if let Some(rest) = address.strip_prefix('[') {
        let (host, after) =
            rest.split_once(']').ok_or_else(|| UrlError::new("the host has a [ without a ]"))?;
        let port = match after {
            "" => None,
            after => Some(
                after.strip_prefix(':').ok_or_else(|| UrlError::new("only a : and a port may follow ]"))?,
            ),
        };
        (Some(parse_ipv6(&host.replacen("%25", "%", 1))?), port)
    } else {
        let (host, port) = match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        };
        if port.is_some_and(|port| port.contains(':')) {
            return Err(UrlError::new(
                "the host has several colons: write an IPv6 address in brackets, as in [::1]",
            ));
        }
        let host = if host.is_empty() { None } else { Some(parse_host(&decode(host, "the host")?)?) };
        (host, port)
    };
    Ok(Address { host, port: port.map(parse_port).transpose()? })
}

/// A host name, an IPv4 address, or the path of a Unix socket.
pub fn parse_host(host: &str) -> Result<String> {
    if host.contains(',') {
        return Err(several_hosts());
    }
    let is_name = host.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_'));
    if host.is_empty() || !(is_name || host.starts_with('/')) {
        return Err(UrlError::new("the host is not a name or an address"));
    }
    Ok(host.to_owned())
}

fn several_hosts() -> UrlError {
    UrlError::new("there are several hosts: write one, for example the name of a load balancer")
}

/// An IPv6 address without brackets. A zone may follow it, as in `fe80::1%eth0`.
pub fn parse_ipv6(address: &str) -> Result<String> {
    let (ip, zone) = address.split_once('%').unwrap_or((address, "0"));
    let is_zone = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_');
    if ip.parse::<Ipv6Addr>().is_err() || zone.is_empty() || !zone.chars().all(is_zone) {
        return Err(UrlError::new("the host in brackets is not an IPv6 address"));
    }
    Ok(address.to_owned())
}

pub fn parse_port(port: &str) -> Result<NonZeroU16> {
    if port.is_empty() {
        return Err(UrlError::new("the port is empty: write it after the colon, or leave out the colon"));
    }
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|_| is_number).ok_or_else(|| {
        UrlError::new(
            "the port is not a number from 1 to 65535 (if it belongs to a password: an @ ends that)",
        )
    })
}

fn keys(query: &str) -> impl Iterator<Item = Cow<'_, str>> {
    form_urlencoded::parse(query.as_bytes()).map(|(key, _)| key)
}

fn parse_parameters(query: &str, form: &UrlForm) -> Result<Vec<(String, String)>> {
    if let Some(unknown) = keys(query).find(|key| !(form.is_parameter)(key)) {
        // Anything else may be a part of a password.
        let is_word = unknown.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-'));
        let name = if is_word { format!(" {unknown}") } else { String::new() };
        return Err(UrlError::new(format!("the parameter{name} after the ? is not supported: remove it")));
    }
    Ok(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
}

fn decode(text: &str, part: &str) -> Result<String> {
    for (position, _) in text.match_indices('%') {
        let code = text.as_bytes().get(position + 1..position + 3).unwrap_or_default();
        if code.len() < 2 || !code.iter().all(u8::is_ascii_hexdigit) {
            return Err(UrlError::new(format!("there is a % in {part}: write it as %25")));
        }
    }
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded =
        decoded.map_err(|_| UrlError::new(format!("{part} is not UTF-8: write a % in it as %25")))?;
    if decoded.contains('\0') {
        return Err(UrlError::new(format!("{part} contains a zero byte")));
    }
    Ok(decoded.into_owned())
}
