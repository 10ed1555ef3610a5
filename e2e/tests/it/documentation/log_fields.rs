//! The fields of log lines in docs/LOGGING.md are those that the programs write.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use super::{assert_none, files, repository};

const EVENTS: [&str; 5] = ["trace!(", "debug!(", "info!(", "warn!(", "error!("];
const SPANS: [&str; 2] = ["debug_span!(", "info_span!("];

#[test]
fn every_field_of_a_log_line_is_documented_and_every_documented_field_is_logged() -> Result<()> {
    let (logged, documented) = (logged_fields()?, documented_fields()?);
    ensure!(logged.len() > 15, "only {logged:?} were found");
    let missing = logged.difference(&documented).map(|field| format!("{field} is logged and not documented"));
    let unknown = documented.difference(&logged).map(|field| format!("{field} is documented and not logged"));
    assert_none(&missing.chain(unknown).collect::<Vec<_>>());
    Ok(())
}

/// The fields in the tables whose first column is `field`.
fn documented_fields() -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(repository().join("docs/LOGGING.md"))?;
    let mut fields = BTreeSet::new();
    let mut is_field_table = false;
    for line in text.lines() {
        is_field_table = line.starts_with("| field |") || (is_field_table && line.starts_with('|'));
        let first = line.split('|').nth(1).unwrap_or_default();
        if is_field_table {
            fields.extend(first.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    Ok(fields)
}

fn logged_fields() -> Result<BTreeSet<String>> {
    let mut fields = BTreeSet::new();
    for program in ["shared/src", "api/src", "worker/src"] {
        let mut paths = Vec::new();
        files(Path::new(program), &["rs"], &mut paths)?;
        for path in paths {
            let text = fs::read_to_string(repository().join(path))?;
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            for (names, is_span) in [(&EVENTS[..], false), (&SPANS[..], true)] {
                for name in names {
                    for (at, _) in code.match_indices(name) {
                        // `debug!(` is also the end of `otel_debug!(`.
                        let is_word =
                            code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
                        if !is_word {
                            add_fields(arguments(&code[at + name.len()..]), is_span, &mut fields);
                        }
                    }
                }
            }
        }
    }
    Ok(fields)
}

/// Adds the fields in the arguments of a macro. In an event, what follows the message are arguments of the message.
fn add_fields(arguments: Vec<&str>, is_span: bool, fields: &mut BTreeSet<String>) {
    for argument in arguments {
        if argument.starts_with('"') {
            if is_span {
                continue;
            }
            return;
        }
        if let Some(group) = argument.strip_prefix('{') {
            add_fields(self::arguments(group), is_span, fields);
        } else if !argument.starts_with("target:") {
            let name = argument.split_once('=').map_or(argument, |(name, _)| name).trim();
            fields.insert(name.trim_start_matches(['%', '?']).to_owned());
        }
    }
}

/// The arguments up to the bracket that closes the list.
fn arguments(text: &str) -> Vec<&str> {
    let (mut found, mut start, mut depth, mut in_string, mut is_escaped) = (Vec::new(), 0, 0, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if in_string => is_escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => {
                found.push(text[start..at].trim());
                break;
            }
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.retain(|argument| !argument.is_empty());
    found
}

#[test]
fn fields_are_found_in_all_forms_of_a_macro() {
    let mut fields = BTreeSet::new();
    let event = r#"target: T, { a.b = %x(1, 2), c }, ?d, "text, {e} \" f = 1", g = 2)"#;
    add_fields(arguments(event), false, &mut fields);
    add_fields(arguments(r#""name", h = it(), %i) more"#), true, &mut fields);
    let expected = ["a.b", "c", "d", "h", "i"];
    assert_eq!(fields.into_iter().collect::<Vec<_>>(), expected);
}
