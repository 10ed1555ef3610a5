//! The names of all tests in the sources, as nextest prints them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Result;

const ATTRIBUTES: [&str; 3] = ["#[test]", "#[tokio::test", "#[sqlx::test"];

/// Reads the sources of all crates of the workspace.
pub fn all(repository: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(repository)? {
        let krate = entry?.path();
        if !krate.join("Cargo.toml").exists() || !krate.join("src").exists() {
            continue;
        }
        read_directory(&krate.join("src"), &[], &mut names)?;
        // Each directory in `tests` is a test binary.
        if krate.join("tests").exists() {
            for binary in fs::read_dir(krate.join("tests"))? {
                read_directory(&binary?.path(), &[], &mut names)?;
            }
        }
    }
    Ok(names)
}

fn read_directory(directory: &Path, modules: &[String], names: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let mut inner = modules.to_vec();
        if !["lib", "main", "mod"].contains(&name.as_str()) {
            inner.push(name);
        }
        if path.is_dir() {
            read_directory(&path, &inner, names)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            read_source(&fs::read_to_string(&path)?, inner, names);
        }
    }
    Ok(())
}

/// Relies on rustfmt: the brace that closes a module is as far indented as the line that opens it.
fn read_source(text: &str, mut modules: Vec<String>, names: &mut BTreeSet<String>) {
    let mut closing_braces = Vec::new();
    let mut is_test = false;
    for line in text.lines() {
        let code = line.trim_start();
        let indentation = &line[..line.len() - code.len()];
        if let Some(module) = code.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(" {")) {
            modules.push(module.to_owned());
            closing_braces.push(format!("{indentation}}}"));
        } else if closing_braces.last().is_some_and(|brace| brace == line) {
            modules.pop();
            closing_braces.pop();
        } else if ATTRIBUTES.iter().any(|attribute| code.starts_with(attribute)) {
            is_test = true;
        } else if is_test && let Some(name) = function(code) {
            names.insert([modules.as_slice(), &[name.to_owned()]].concat().join("::"));
            is_test = false;
        }
    }
}

fn function(code: &str) -> Option<&str> {
    let (_, rest) = code.split_once("fn ")?;
    rest.split(['(', '<']).next()
}
