//! The tokens of administrators: `ADMIN_TOKEN`, and by name `ADMIN_TOKENS`.
//!
//! Only the digests are kept. All have the same length, so that comparing them reveals nothing about a token's length.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use hamro_shared::config::{Env, Setting};
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

const MIN_CHARS: usize = 16;
/// Sixteen random hexadecimal digits have fewer different ones once in 30 000 times.
const MIN_DISTINCT_CHARS: usize = 6;
const MAX_NAME_CHARS: usize = 32;

/// The name of an administrator: `[a-z0-9._-]{1,32}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AdminName(Arc<str>);

impl AdminName {
    /// The name of the holder of `ADMIN_TOKEN`.
    const OF_SINGLE_TOKEN: &str = "admin";

    /// The name under which the canary releases its seats.
    pub fn of_canary() -> Self {
        Self("canary".into())
    }

    fn parse(text: &str) -> Option<Self> {
        let is_valid = |char| matches!(char, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
        ((1..=MAX_NAME_CHARS).contains(&text.len()) && text.chars().all(is_valid)).then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AdminName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tokens that are accepted. Without any, all writes are refused.
#[derive(Clone, Debug, Default)]
pub struct AdminTokens(Vec<NamedToken>);

#[derive(Clone)]
struct NamedToken {
    name: AdminName,
    digest: [u8; 32],
}

impl fmt::Debug for NamedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the token of {}", self.name)
    }
}

impl AdminTokens {
    pub fn read(env: &mut Env) -> Option<Self> {
        let single = env
            .variable(
                "ADMIN_TOKEN",
                "Bearer token that writes require, of an administrator named `admin`. Without any token, writes are \
                 refused.",
                "a secret of at least 16 ASCII characters (openssl rand -hex 24)",
            )
            .secret()
            .optional::<SingleToken>();
        let named = env
            .variable(
                "ADMIN_TOKENS",
                "Bearer tokens of several administrators, by name. The log and releases name who made a change.",
                "comma-separated pairs such as alice=SECRET,bob=SECRET, with different names of a-z, 0-9 and ._- and \
                 different secrets of at least 16 visible ASCII characters (openssl rand -hex 24)",
            )
            .secret()
            .optional::<Self>();
        let (single, named) = (single?, named?);
        let all: Vec<_> =
            single.map(|SingleToken(token)| token).into_iter().chain(named.unwrap_or_default().0).collect();
        if let Some(problem) = duplicate(&all) {
            env.record_error(format!(
                "ADMIN_TOKENS and ADMIN_TOKEN contradict each other: {problem}; ADMIN_TOKENS should have other names \
                 than `admin`, and other secrets"
            ));
            return None;
        }
        Some(Self(all))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The administrator whose token this is. Compares it with all tokens in constant time, so that the response time
    /// reveals neither how much of a guess was correct nor whose token it resembles.
    pub fn find(&self, given: &str) -> Option<AdminName> {
        let given = digest(given);
        let mut found = u32::MAX;
        for (number, token) in (0..).zip(&self.0) {
            found.conditional_assign(&number, given.ct_eq(&token.digest));
        }
        self.0.get(usize::try_from(found).ok()?).map(|token| token.name.clone())
    }
}

impl Setting for AdminTokens {
    fn parse(text: &str) -> Option<Self> {
        parse_pairs(text).ok().map(Self)
    }

    fn problem(text: &str) -> Option<String> {
        parse_pairs(text).err()
    }
}

fn parse_pairs(text: &str) -> Result<Vec<NamedToken>, String> {
    let mut pairs = Vec::new();
    for (number, pair) in (1..).zip(text.split(',')) {
        let (name, token) =
            pair.trim().split_once('=').ok_or_else(|| format!("pair {number} has no equals sign"))?;
        let name =
            AdminName::parse(name.trim()).ok_or_else(|| format!("the name of pair {number} is invalid"))?;
        let token = token.trim();
        if token.contains(' ') {
            return Err(format!("the token of {name} contains a space"));
        }
        if let Some(weakness) = weakness(token) {
            return Err(format!("the token of {name} {weakness}"));
        }
        pairs.push(NamedToken { name, digest: digest(token) });
    }
    duplicate(&pairs).map_or(Ok(pairs), Err)
}

/// What two pairs have in common that they must not.
fn duplicate(pairs: &[NamedToken]) -> Option<String> {
    let (mut names, mut digests) = (HashSet::new(), HashSet::new());
    pairs.iter().find_map(|NamedToken { name, digest }| {
        if !names.insert(name) {
            return Some(format!("the name {name} occurs twice"));
        }
        (!digests.insert(digest)).then(|| format!("the token of {name} is also that of another name"))
    })
}

/// `ADMIN_TOKEN`. Unlike the others, it may contain spaces, as in earlier versions.
struct SingleToken(NamedToken);

impl Setting for SingleToken {
    fn parse(text: &str) -> Option<Self> {
        let name = AdminName(AdminName::OF_SINGLE_TOKEN.into());
        weakness(text).is_none().then(|| Self(NamedToken { name, digest: digest(text) }))
    }

    fn problem(text: &str) -> Option<String> {
        weakness(text).map(|weakness| format!("the token {weakness}"))
    }
}

/// Why the token could be guessed, or not sent. It cannot be proved that a token is random, but these are not.
fn weakness(token: &str) -> Option<String> {
    let is_printable = token.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if !is_printable {
        return Some("contains other than visible ASCII characters".to_owned());
    }
    if token.len() < MIN_CHARS {
        return Some(format!("has fewer than {MIN_CHARS} characters"));
    }
    let distinct = token.bytes().collect::<HashSet<_>>().len();
    if distinct < MIN_DISTINCT_CHARS {
        return Some(format!("has only {distinct} different characters, so it is easily guessed"));
    }
    let repeats =
        |period: usize| token.as_bytes()[period..].iter().eq(&token.as_bytes()[..token.len() - period]);
    (1..=token.len() / 2).any(repeats).then(|| "repeats itself, so it is easily guessed".to_owned())
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "3f5c0d1e9a7b4826";
    const BOB: &str = "9d02b7c4e61f853a=";

    fn read(variables: &[(&str, &str)]) -> Result<AdminTokens, String> {
        let mut env = Env::of(variables);
        let tokens = AdminTokens::read(&mut env);
        env.finish(tokens).map_err(|error| error.to_string())
    }

    #[test]
    fn every_token_is_found_under_its_name() {
        let named = format!(" alice={ALICE} , bob-2.x={BOB}");
        let tokens =
            read(&[("ADMIN_TOKEN", "correct horse battery staple"), ("ADMIN_TOKENS", &named)]).unwrap();
        let find = |token: &str| tokens.find(token).map(|name| name.to_string());
        assert_eq!(find("correct horse battery staple").as_deref(), Some("admin"));
        assert_eq!(find(ALICE).as_deref(), Some("alice"));
        assert_eq!(find(BOB).as_deref(), Some("bob-2.x"));
        for unknown in ["", "alice", &named, &format!("{ALICE}0"), &ALICE[1..]] {
            assert_eq!(find(unknown), None, "{unknown}");
        }
        assert!(read(&[]).unwrap().is_empty());
    }

    #[test]
    fn weak_or_contradictory_tokens_are_refused_without_being_printed() {
        for (name, value, expected) in [
            ("ADMIN_TOKEN", "3f5c0d1e9a7b482", "fewer than 16"),
            ("ADMIN_TOKEN", "aaaaaaaaaaaaaaaa", "only 1 different"),
            ("ADMIN_TOKEN", "abcabdabcabdabce", "only 5 different"),
            ("ADMIN_TOKEN", "password12password12", "repeats"),
            ("ADMIN_TOKEN", "3f5c0d1e9a7b482é", "visible ASCII"),
            ("ADMIN_TOKEN", "3f5c0d1e9a7b\t4826", "visible ASCII"),
            ("ADMIN_TOKENS", "3f5c0d1e9a7b4826", "pair 1 has no equals sign"),
            ("ADMIN_TOKENS", "alice=3f5c0d1e9a7b4826,", "pair 2 has no equals sign"),
            ("ADMIN_TOKENS", "Alice=3f5c0d1e9a7b4826", "the name of pair 1 is invalid"),
            ("ADMIN_TOKENS", "=3f5c0d1e9a7b4826", "the name of pair 1 is invalid"),
            ("ADMIN_TOKENS", "alice=3f5c0d1e9a7b4826,bob=short", "bob has fewer than 16"),
            ("ADMIN_TOKENS", "alice=3f5c0d1e 9a7b4826", "contains a space"),
            ("ADMIN_TOKENS", "alice=3f5c0d1e9a7b4826,alice=9d02b7c4e61f853a", "alice occurs twice"),
            ("ADMIN_TOKENS", "alice=3f5c0d1e9a7b4826,bob=3f5c0d1e9a7b4826", "also that of another name"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.contains(name) && error.contains(expected), "{value}: {error}");
            assert!(error.contains("openssl rand -hex 24"), "{error}");
            for secret in ["3f5c0d", "aaaaaa", "abcabd", "password12", "short", "9d02b7"] {
                assert!(!error.contains(secret), "{error}");
            }
        }
        for (single, named) in [(ALICE, "admin=9d02b7c4e61f853a"), (ALICE, "alice=3f5c0d1e9a7b4826")] {
            let error = read(&[("ADMIN_TOKEN", single), ("ADMIN_TOKENS", named)]).unwrap_err();
            assert!(error.contains("ADMIN_TOKENS and ADMIN_TOKEN"), "{error}");
        }
    }

    #[test]
    fn tokens_are_not_printed() {
        let tokens = AdminTokens::parse(&format!("alice={ALICE}")).unwrap();
        assert_eq!(format!("{tokens:?}"), "AdminTokens([the token of alice])");
    }
}
