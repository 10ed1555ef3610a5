//! The interactive documentation.

use anyhow::{Context, Result};
use hamro_e2e::{Deployment, Setup};
use hyper::Method;

#[tokio::test]
async fn the_documentation_runs_only_its_own_scripts_and_cannot_be_framed() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let page = client.request(Method::GET, "/docs/").send().await?;
        let html = str::from_utf8(&page.body)?.to_owned();
        let scripts: Vec<&str> =
            html.split("src=\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0)).collect();
        assert!(scripts.len() >= 2, "{html}");
        assert!(!html.contains("<script>"), "the policy forbids inline scripts: {html}");
        let files = scripts.iter().map(|script| format!("/docs/{}", script.trim_start_matches("./")));
        for path in ["/docs", "/docs/", "/docs/swagger-ui.css", "/docs/nothing"]
            .map(str::to_owned)
            .into_iter()
            .chain(files)
        {
            let response = client.request(Method::GET, &path).send().await?;
            let policy = response.header("content-security-policy").with_context(|| path.clone())?;
            for directive in
                ["default-src 'none'", "script-src 'self';", "connect-src 'self'", "frame-ancestors 'none'"]
            {
                assert!(policy.contains(directive), "{path}: {policy}");
            }
            assert_ne!(
                response.status >= 400,
                path.starts_with("/docs") && !path.ends_with("nothing"),
                "{path}"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_path_below_docs_that_does_not_exist_is_a_problem_like_any_other() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let elsewhere = client.get("/nowhere").await?;
        for path in ["/docs/nothing", "/docs/no/thing", "/docs/%2e%2e/secret", "/docs/nothing/"] {
            let response = client.get(path).await?;
            assert_eq!((response.status, &response.body), (404, &elsewhere.body), "{path}");
            assert_eq!(response.header("content-type"), Some("application/problem+json"), "{path}");
        }
        let post = client.request(Method::POST, "/docs/").send().await?;
        assert_eq!(post.status, 405);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_documentation_can_be_switched_off_while_its_document_stays() -> Result<()> {
    let setup = Setup { workers: 0, variables: vec![("DOCS", "false")], ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let client = deployment.client();
        for path in ["/docs", "/docs/", "/docs/swagger-ui-bundle.js"] {
            let response = client.get(path).await?;
            assert_eq!((response.status, response.code()), (404, "not-found"), "{path}");
        }
        let document = client.get("/openapi.json").await?;
        assert!(document.body["paths"]["/concerts"].is_object());
        assert_eq!(document.header("content-type"), Some("application/json"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_document_names_the_address_at_which_clients_reach_the_api() -> Result<()> {
    for (variables, url) in [
        (vec![], "/"),
        (vec![("PUBLIC_URL", "https://www.example.com/tickets/")], "https://www.example.com/tickets"),
    ] {
        let setup = Setup { workers: 0, variables, ..Setup::default() };
        Deployment::run(setup, async |deployment| {
            let document = deployment.client().get("/openapi.json").await?.body;
            assert_eq!(document["servers"][0]["url"], url);
            Ok(())
        })
        .await?;
    }
    Ok(())
}
