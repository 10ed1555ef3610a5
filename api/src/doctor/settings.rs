//! The settings of this machine: whether they are valid, and whether their secrets are safe.

use std::collections::{BTreeMap, HashSet};
use std::fs::metadata;
use std::os::unix::fs::PermissionsExt;

use hamro_shared::config::Env;

use super::report::{Finding, problems_or_ok};
use crate::config::Config;

const SETTINGS: &str = "settings";
const KEYS: &str = "ticket keys";
const FILES: &str = "files of secrets";

/// The rights of a file's group and of others.
const RIGHTS_OF_OTHERS: u32 = 0o077;

/// Random keys of 64 hexadecimal digits have nearly all 16 digits.
const MIN_DISTINCT_DIGITS: usize = 8;

/// Examines the settings, and returns those of the api if they are valid.
pub fn check() -> (Vec<Finding>, Option<Config>) {
    let (mut findings, config) = match Config::read(Env::process()) {
        Ok(config) => (vec![Finding::ok(SETTINGS, "all settings of the api are valid")], Some(config)),
        // The first line is a heading.
        Err(errors) => (errors.to_string().lines().skip(1).map(invalid).collect(), None),
    };
    findings.extend(ticket_keys());
    if let Some(config) = &config
        && config.admin.tokens.is_empty()
    {
        findings.push(Finding::warning(
            "admin token",
            "neither ADMIN_TOKEN nor ADMIN_TOKENS is set: nobody can change the catalogue, or pause the intake in a sale",
            "set ADMIN_TOKENS on all instances, with a name for each administrator",
        ));
    }
    findings.extend(secret_files(&files_of_secrets()));
    (findings, config)
}

fn invalid(error: &str) -> Finding {
    Finding::error(SETTINGS, error.trim(), "correct it; `hamro-api --help` describes every setting")
}

fn ticket_keys() -> Option<Finding> {
    let mut env = Env::process();
    let keys = env.variable("TICKET_KEYS", "", "").secret().optional::<String>();
    // A missing or invalid value is among the findings about the settings.
    Some(strength_of_keys(&keys??))
}

fn strength_of_keys(keys: &str) -> Finding {
    let keys: Vec<_> = keys.split(',').map(|key| key.trim().to_ascii_lowercase()).collect();
    let replace = "replace it now: `hamro-api keys add`, then follow its instructions";
    for (number, key) in (1..).zip(&keys) {
        if is_guessable(key) {
            let finding = format!("key {number} can be guessed, and so can the tickets that it verifies");
            return Finding::error(KEYS, finding, replace);
        }
    }
    if keys.iter().collect::<HashSet<_>>().len() < keys.len() {
        return Finding::warning(KEYS, "a key is listed twice", "remove one of them");
    }
    let text = match keys.len() {
        1 => "1 key".to_owned(),
        count => format!("{count} keys: the first signs, all verify"),
    };
    Finding::ok(KEYS, text)
}

/// Whether a person has written the key. It cannot be proved that a key is random, but these are not.
fn is_guessable(key: &str) -> bool {
    let repeats = |period: usize| key.as_bytes()[period..].iter().eq(&key.as_bytes()[..key.len() - period]);
    key.bytes().collect::<HashSet<_>>().len() < MIN_DISTINCT_DIGITS || (1..=key.len() / 2).any(repeats)
}

/// The files of settings with a secret, by the name of the variable.
fn files_of_secrets() -> BTreeMap<String, String> {
    let secrets: HashSet<String> = Config::variables()
        .into_iter()
        .filter(|variable| variable.is_secret)
        .map(|variable| format!("{}_FILE", variable.name))
        .collect();
    std::env::vars_os()
        .filter_map(|(name, path)| Some((name.into_string().ok()?, path.into_string().ok()?)))
        .filter(|(name, path)| secrets.contains(name) && !path.is_empty())
        .collect()
}

fn secret_files(files: &BTreeMap<String, String>) -> Vec<Finding> {
    if files.is_empty() {
        return Vec::new();
    }
    let exposed = files.iter().filter_map(|(name, path)| {
        // A file that cannot be read is among the findings about the settings.
        let mode = metadata(path).ok()?.permissions().mode();
        (mode & RIGHTS_OF_OTHERS != 0).then(|| {
            let finding = format!("other users of this machine may read {path} (mode {:04o})", mode & 0o7777);
            let remedy =
                format!("chmod 0600 {path}, unless the programs run as another user than its owner ({name})");
            Finding::warning(FILES, finding, remedy)
        })
    });
    let ok = || Finding::ok(FILES, format!("only their owner can read them: {}", list(files.keys())));
    problems_or_ok(exposed.collect(), ok)
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    const RANDOM: &str = "7c0b5f7e2a9d41c683e0f1b25d94a7c6f3180e6b9a52d7c401f8be6237a95d0e";
    const OTHER: &str = "1d94e07fb35a2c68d1f0477be9a2635c80fe41d2b6973a5ce8024f9b17d6ac30";

    #[test]
    fn a_key_that_a_person_has_written_is_an_error_and_not_printed() {
        for weak in ["a".repeat(64), "ab".repeat(32), "0123456789abcdef".repeat(4), "12345678".repeat(8)] {
            let finding = strength_of_keys(&format!("{RANDOM}, {weak}"));
            assert_eq!(finding.verdict, Verdict::Error, "{weak}");
            assert!(finding.finding.starts_with("key 2 can be guessed"), "{}", finding.finding);
            assert!(!finding.to_string().contains(&weak));
        }
        assert_eq!(strength_of_keys(&format!("{RANDOM},{OTHER}")).verdict, Verdict::Ok);
        assert_eq!(strength_of_keys(&format!("{RANDOM},{RANDOM}")).verdict, Verdict::Warning);
    }

    #[test]
    fn a_file_that_others_can_read_is_a_warning() {
        let path = std::env::temp_dir().join(format!("hamro-doctor-{}", std::process::id()));
        std::fs::write(&path, RANDOM).unwrap();
        let files = BTreeMap::from([("TICKET_KEYS_FILE".to_owned(), path.to_string_lossy().into_owned())]);
        for (mode, verdict) in [(0o600, Verdict::Ok), (0o640, Verdict::Warning), (0o604, Verdict::Warning)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let findings = secret_files(&files);
            assert_eq!((findings.len(), findings[0].verdict), (1, verdict), "{mode:o}");
        }
        std::fs::remove_file(path).unwrap();
    }
}
