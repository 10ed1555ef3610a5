//! The booking page, as a browser loads it.

mod browser;

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use hamro_e2e::{Client, Deployment, Setup};
use hyper::Method;

#[tokio::test]
async fn the_booking_page_serves_all_its_files_and_allows_no_foreign_scripts() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let page = client.request(Method::GET, "/").send().await?;
        assert_eq!(page.status, 200);
        let policy = page.header("content-security-policy").context("no policy")?;
        for directive in ["default-src 'none'", "script-src 'self'", "connect-src 'self'"] {
            assert!(policy.contains(directive), "{policy}");
        }
        let html = str::from_utf8(&page.body)?;
        // Relative, so that the page also works below a path.
        for name in ["\"page/page.css\"", "\"page/page.js\""] {
            assert!(html.contains(name), "the page does not refer to {name}");
        }
        for inline in ["<script>", "<style", "style=", "onclick="] {
            assert!(!html.contains(inline), "the policy forbids {inline}");
        }
        file(client, "/page/page.css", "text/css; charset=utf-8").await?;

        let mut loaded = BTreeSet::new();
        let mut pending = vec!["page.js".to_owned()];
        while let Some(name) = pending.pop() {
            if loaded.insert(name.clone()) {
                let module = file(client, &format!("/page/{name}"), "text/javascript; charset=utf-8").await?;
                pending.extend(imports(&module));
            }
        }
        assert!(loaded.len() > 1, "{loaded:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_file_of_the_page_is_sent_compressed_and_only_to_visitors_who_do_not_have_it() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        for path in ["/", "/page/page.css", "/page/page.js"] {
            let get = || client.request(Method::GET, path).header("Accept-Encoding", "gzip, br");
            let first = get().send().await?;
            // Whichever is shorter.
            assert!(matches!(first.header("content-encoding"), Some("br" | "gzip")), "{path}: {first:?}");
            let plain = client.request(Method::GET, path).send().await?;
            assert!(first.body.len() * 2 < plain.body.len(), "{path}");
            let tag = first.header("etag").context("no tag")?;
            let again = get().header("If-None-Match", tag).send().await?;
            assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(tag)), "{path}");
        }
        Ok(())
    })
    .await
}

async fn file(client: &Client, path: &str, content_type: &str) -> Result<String> {
    let file = client.request(Method::GET, path).send().await?;
    assert_eq!(file.status, 200, "{path}");
    assert_eq!(file.header("content-type"), Some(content_type), "{path}");
    Ok(String::from_utf8(file.body.into())?)
}

/// The modules in the same directory that this module imports.
fn imports(module: &str) -> impl Iterator<Item = String> {
    module.split(" from './").skip(1).filter_map(|rest| Some(rest.split_once('\'')?.0.to_owned()))
}
