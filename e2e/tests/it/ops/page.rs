//! The live view, as a browser loads it. `make test` also runs the tests of its scripts, beside these in
//! `api/src/ops/page/`.

use std::collections::BTreeSet;
use std::fs::read_dir;

use anyhow::{Context, Result, ensure};
use hamro_e2e::{Client, Deployment, Setup};
use hyper::Method;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../api/src/ops/page");

#[tokio::test]
async fn the_live_view_loads_without_a_token_and_refers_only_to_its_own_files() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let page = file(client, "/ops", "text/html").await?;
        for inline in ["<script>", "<style", "style=", "onclick=", "://"] {
            assert!(!page.contains(inline), "the page contains {inline}");
        }

        let mut loaded = BTreeSet::new();
        let mut pending: Vec<String> = quoted(&page, "\"/ops/page/", '"').collect();
        assert!(pending.len() >= 4, "{pending:?}");
        while let Some(name) = pending.pop() {
            if loaded.insert(name.clone()) {
                let kind = if extension(&name) == Some("css") { "text/css" } else { "text/javascript" };
                let content = file(client, &format!("/ops/page/{name}"), kind).await?;
                pending.extend(quoted(&content, " from './", '\''));
            }
        }
        assert_eq!(loaded, sources()?, "the files that a browser loads, and those that exist");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_library_of_the_live_view_is_served_with_its_licence() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let library = file(deployment.client(), "/ops/page/uPlot.iife.min.js", "text/javascript").await?;
        assert!(library.starts_with("/*! https://github.com/leeoniya/uPlot (v1.6.32) */"));
        let licence = file(deployment.client(), "/ops/page/LICENSE", "text/plain").await?;
        assert!(licence.starts_with("The MIT License"));
        Ok(())
    })
    .await
}

/// Loads a file, which must carry the policy: no script, style or request of another origin, and nothing inline.
async fn file(client: &Client, path: &str, kind: &str) -> Result<String> {
    let file = client.request(Method::GET, path).send().await?;
    ensure!(file.status == 200, "{path}: {}", file.status);
    assert_eq!(file.header("content-type"), Some(format!("{kind}; charset=utf-8").as_str()), "{path}");
    assert_eq!(file.header("cache-control"), Some("no-cache"), "{path}");
    let policy: BTreeSet<&str> =
        file.header("content-security-policy").context("no policy")?.split("; ").collect();
    let expected = [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src data:",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ];
    assert_eq!(policy, BTreeSet::from(expected), "{path}");
    Ok(String::from_utf8(file.body.into())?)
}

/// The names that follow `start`, up to `end`.
fn quoted(text: &str, start: &str, end: char) -> impl Iterator<Item = String> {
    text.split(start).skip(1).filter_map(move |rest| Some(rest.split_once(end)?.0.to_owned()))
}

fn extension(name: &str) -> Option<&str> {
    name.rsplit_once('.').map(|(_, extension)| extension)
}

/// The scripts and style sheets of the page, without their tests.
fn sources() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for folder in [SOURCES.to_owned(), format!("{SOURCES}/uplot")] {
        for entry in read_dir(folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !name.ends_with(".test.js") && matches!(extension(&name), Some("js" | "css")) {
                names.insert(name);
            }
        }
    }
    Ok(names)
}
