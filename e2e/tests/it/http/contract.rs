//! Conformance of the api to its OpenAPI document. Schemathesis generates valid and invalid requests from the document
//! and checks the responses against it. `contract/schemathesis.toml` configures it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hamro_e2e::client::ADMIN_TOKEN;
use hamro_e2e::{Deployment, Setup};
use tokio::process::Command;
use tokio::time::timeout;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/http/contract");
const SCHEMATHESIS: &str = "schemathesis must be on the PATH; `make test` installs it";
const TIMEOUT: Duration = Duration::from_secs(340);

#[tokio::test]
async fn the_api_conforms_to_its_openapi_document() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let document = deployment.client().url("/openapi.json");
        let mut schemathesis = Command::new("schemathesis");
        schemathesis
            .args(["run", &document])
            .current_dir(DIRECTORY)
            .env("ADMIN_TOKEN", ADMIN_TOKEN)
            // Keep its other files out of the source directory.
            .env("HYPOTHESIS_STORAGE_DIRECTORY", env!("CARGO_TARGET_TMPDIR"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = timeout(TIMEOUT, schemathesis.output())
            .await
            .context("schemathesis timed out")?
            .context(SCHEMATHESIS)?;
        ensure!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    })
    .await
}
