//! Text files have LF line ends. CR LF would change the checksums of migrations and the bytes that the build embeds,
//! and break scripts. `.gitattributes` sets this for every checkout.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::{files, repository};

const TEXT: &[&str] =
    &["css", "html", "js", "json", "lock", "lua", "md", "py", "rs", "sh", "snap", "sql", "toml", "ts", "yml"];

#[test]
fn no_text_file_has_windows_line_ends() -> Result<()> {
    let mut paths = vec![PathBuf::from("Makefile"), PathBuf::from("Dockerfile"), PathBuf::from(".ci/run")];
    for directory in ["", ".sqlx", ".config", ".cargo"] {
        files(Path::new(directory), TEXT, &mut paths)?;
    }
    ensure!(paths.len() > 400, "only {} files were found", paths.len());
    let mut wrong = Vec::new();
    for path in paths {
        if fs::read(repository().join(&path))?.contains(&b'\r') {
            wrong.push(path);
        }
    }
    assert!(wrong.is_empty(), "check these files out again, with .gitattributes: {wrong:?}");
    let attributes = fs::read_to_string(repository().join(".gitattributes"))?;
    assert!(attributes.lines().any(|line| line == "* text=auto eol=lf"), "{attributes}");
    Ok(())
}
