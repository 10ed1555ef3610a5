//! The documents name tests and files that exist.
//!
//! A test is named in backticks as nextest prints it, such as `database::clocks::*`: the path of its module, then the
//! function. A `*` at the end stands for any rest. A path in backticks is taken as the name of a test if its last part
//! has at least three underscores or ends with `*`.

mod line_ends;
mod log_fields;
mod monitoring;
mod references;
mod source_tests;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use self::references::{Reference, references};

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The files below the directory that have one of these extensions, relative to the repository. Skips build directories
/// and hidden ones.
fn files(directory: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(repository().join(directory))? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), directory.join(entry.file_name()));
        let is_skipped = name.to_str().is_none_or(|name| name.starts_with('.') || name == "target");
        if entry.file_type()?.is_dir() {
            if !is_skipped {
                files(&path, extensions, found)?;
            }
        } else if path.extension().is_some_and(|extension| extensions.iter().any(|known| extension == *known))
        {
            found.push(path);
        }
    }
    Ok(())
}

/// The documents and the comments of the sources, as pairs of path and text.
fn documents() -> Result<Vec<(PathBuf, String)>> {
    let mut paths = Vec::new();
    files(Path::new(""), &["md", "rs", "sh", "toml", "yml"], &mut paths)?;
    let mut documents = Vec::new();
    for path in paths {
        let text = fs::read_to_string(repository().join(&path))?;
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        let comments = |text: &str| text.lines().filter_map(comment).collect::<Vec<_>>().join("\n");
        documents.push((path, if is_source { comments(&text) } else { text }));
    }
    ensure!(documents.len() > 100, "only {} documents were found", documents.len());
    Ok(documents)
}

fn comment(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("//").map(|text| text.trim_start_matches(['/', '!']))
}

/// Fails with the list of all problems.
fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "{} references to nothing:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn every_test_named_in_the_documents_exists() -> Result<()> {
    let tests = source_tests::all(repository())?;
    ensure!(tests.len() > 400, "only {} tests were found", tests.len());
    let (mut problems, mut found) = (Vec::new(), 0);
    for (path, text) in documents()? {
        for reference in references(&text) {
            let exists = match &reference {
                Reference::Test(name) => match name.strip_suffix('*') {
                    Some(start) => tests.iter().any(|test| test.starts_with(start)),
                    None => tests.contains(name),
                },
                Reference::Filter(text) => tests.iter().any(|test| test.contains(text)),
                Reference::File(_) | Reference::Link(_) => continue,
            };
            found += 1;
            if !exists {
                problems.push(format!("{}: {reference:?}", path.display()));
            }
        }
    }
    assert_none(&problems);
    ensure!(found > 100, "only {found} names of tests were found");
    Ok(())
}

#[test]
fn every_file_named_in_the_documents_exists() -> Result<()> {
    let (mut problems, mut found) = (Vec::new(), 0);
    for (path, text) in documents()? {
        let directory = path.parent().context("a document has no directory")?;
        for reference in references(&text) {
            let target = match &reference {
                Reference::File(name) => repository().join(name),
                Reference::Link(link) if path.extension().is_some_and(|extension| extension == "md") => {
                    repository().join(directory).join(link.split('#').next().unwrap_or_default())
                }
                _ => continue,
            };
            found += 1;
            if !target.exists() {
                problems.push(format!("{}: {reference:?}", path.display()));
            }
        }
    }
    assert_none(&problems);
    ensure!(found > 100, "only {found} names of files were found");
    Ok(())
}

#[test]
fn every_section_linked_in_the_documents_exists() -> Result<()> {
    let documents = documents()?;
    let mut problems = Vec::new();
    for (path, text) in &documents {
        let directory = path.parent().context("a document has no directory")?;
        for reference in references(text) {
            let Reference::Link(link) = reference else { continue };
            let Some((file, anchor)) = link.split_once('#') else { continue };
            let target = if file.is_empty() { path.clone() } else { directory.join(file) };
            let target = repository().join(target);
            // Links in comments are for rustdoc.
            if target.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let target = fs::read_to_string(&target).with_context(|| link.clone())?;
            if !target.lines().filter_map(section).any(|section| section == anchor) {
                problems.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert_none(&problems);
    Ok(())
}

/// The anchor of a heading, as GitHub derives it.
fn section(line: &str) -> Option<String> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
    let kept = title.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    Some(kept.collect::<String>().to_lowercase().replace(' ', "-"))
}
