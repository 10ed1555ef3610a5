//! The booking page, as a browser gets it.

use anyhow::Result;
use hamro_e2e::{Installation, Setup};
use reqwest::Method;

#[tokio::test]
async fn the_page_comes_with_all_that_it_names_and_runs_nothing_from_elsewhere() -> Result<()> {
    let installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    let client = installation.client();
    let page = client.request(Method::GET, "/").send().await?;
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str()?.to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
    let html = page.text().await?;
    for (name, content_type) in
        [("/page.css", "text/css; charset=utf-8"), ("/page.js", "text/javascript; charset=utf-8")]
    {
        assert!(html.contains(name), "the page does not name {name}");
        let file = client.request(Method::GET, name).send().await?;
        assert_eq!((file.status().as_u16(), file.headers()["content-type"].to_str()?), (200, content_type));
    }
    for inline in ["<script>", "<style", "style=", "onclick="] {
        assert!(!html.contains(inline), "the policy forbids {inline}");
    }
    installation.close().await
}
