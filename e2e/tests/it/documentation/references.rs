//! What a text refers to.

/// A reference to something that must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A test, or several with a `*` at the end.
    Test(String),
    /// A part of the names of tests, as in `make test ARGS='…'`.
    Filter(String),
    /// A file or directory, relative to the repository.
    File(String),
    /// The target of a Markdown link, relative to the document.
    Link(String),
}

/// The directories whose files are named by their path in the repository.
const DIRECTORIES: [&str; 15] = [
    ".ci",
    ".config",
    "api",
    "benchmarks",
    "deploy",
    "docs",
    "e2e",
    "loadtest",
    "migrations",
    "model",
    "page",
    "seeds",
    "shared",
    "verification",
    "worker",
];

const EXTENSIONS: [&str; 9] = ["md", "mmd", "py", "rs", "sh", "sql", "toml", "ts", "yml"];

/// All references in the text.
pub fn references(text: &str) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if !is_code {
            found.extend(line.split('`').skip(1).step_by(2).filter_map(quoted));
            found.extend(line.split("](").skip(1).filter_map(link));
        }
        found.extend(line.split(|letter: char| !is_part_of_a_path(letter)).filter_map(named_file));
        found.extend(filter(line));
    }
    found
}

fn quoted(text: &str) -> Option<Reference> {
    let is_path_of_a_test = text.contains("::")
        && text
            .split("::")
            .all(|part| !part.is_empty() && part.trim_end_matches('*').chars().all(is_snake_case));
    let last = text.rsplit("::").next()?;
    let is_test = is_path_of_a_test && (last.ends_with('*') || last.matches('_').count() >= 3);
    if is_test {
        return Some(Reference::Test(text.to_owned()));
    }
    // A directory is a reference only in backticks: prose has words such as "api/worker".
    let is_directory = text.ends_with('/') && text.chars().all(is_part_of_a_path) && is_in_a_directory(text);
    is_directory.then(|| Reference::File(text.to_owned()))
}

fn is_snake_case(letter: char) -> bool {
    letter == '_' || letter.is_ascii_lowercase() || letter.is_ascii_digit()
}

fn is_part_of_a_path(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_-./:".contains(letter)
}

fn is_in_a_directory(path: &str) -> bool {
    path.split_once('/').is_some_and(|(first, _)| DIRECTORIES.contains(&first))
}

fn named_file(word: &str) -> Option<Reference> {
    let path = word.trim_end_matches(['.', ':']);
    let is_file = path.rsplit_once('.').is_some_and(|(_, extension)| EXTENSIONS.contains(&extension));
    (is_file && is_in_a_directory(path)).then(|| Reference::File(path.to_owned()))
}

/// The target of a link to another document.
fn link(rest: &str) -> Option<Reference> {
    let (target, _) = rest.split_once(')')?;
    (!target.contains("://") && !target.contains(' ')).then(|| Reference::Link(target.to_owned()))
}

/// What `make test ARGS='…'` selects.
fn filter(line: &str) -> Option<Reference> {
    let (_, arguments) = line.split_once("make test ARGS='")?;
    let first = arguments.split([' ', '\'']).next()?;
    let is_name = !first.is_empty() && !first.starts_with('-') && first.chars().all(is_part_of_a_path);
    is_name.then(|| Reference::Filter(first.to_owned()))
}
