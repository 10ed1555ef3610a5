//! Clients that are generated from the OpenAPI document, and the examples in docs/API.md that use them.
//!
//! Each test takes an example from docs/API.md, generates the client from the document that the api serves, checks the
//! types, and lets the example book two seats and follow the ticket.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hamro_e2e::{Deployment, Setup, tables};
use tokio::process::Command;
use tokio::time::timeout;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The api's address in the examples.
const ADDRESS: &str = "http://localhost:3000";
const TIMEOUT: Duration = Duration::from_mins(1);

/// A new, empty directory.
fn directory(name: &str) -> Result<PathBuf> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// The code block of this language in the section "Book from a program" of docs/API.md, for this deployment.
fn example(language: &str, deployment: &Deployment) -> Result<String> {
    let document = fs::read_to_string(Path::new(REPOSITORY).join("docs/API.md"))?;
    let (_, section) = document.split_once("\n## Book from a program\n").context("the section is missing")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut blocks = section.split("```").skip(1).step_by(2);
    let code = blocks
        .find_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .with_context(|| format!("no example in {language}"))?;
    ensure!(code.contains(ADDRESS), "the example names another address: {code}");
    Ok(code.replace(ADDRESS, deployment.client().url("/").trim_end_matches('/')))
}

/// Runs the command in the directory, and returns what it printed to stdout. Fails if it fails.
async fn run<S: AsRef<OsStr>>(directory: &Path, program: &str, arguments: &[S]) -> Result<String> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(directory)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONPATH", "client")
        .env("MYPYPATH", "client")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(TIMEOUT, command.output())
        .await
        .with_context(|| format!("{program} timed out"))?
        .with_context(|| format!("{program} must be on the PATH; `make test` installs it"))?;
    ensure!(
        output.status.success(),
        "{program} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// The examples book seats 21 and 22.
async fn assert_booked(deployment: &Deployment, printed: &str) -> Result<()> {
    assert!(printed.contains("confirmed"), "{printed}");
    let seats: Vec<i32> = sqlx::query_scalar("SELECT seat_id FROM sale_seats ORDER BY position")
        .fetch_all(&deployment.pool)
        .await?;
    assert_eq!(seats, [21, 22]);
    assert_eq!(tables::count(&deployment.pool, "bookings").await?, 1);
    Ok(())
}

#[tokio::test]
async fn the_curl_example_books_and_follows_the_ticket() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let script = example("sh", deployment)?;
        let directory = directory("curl-example")?;
        let printed = run(&directory, "bash", &["-euo", "pipefail", "-c", &script]).await?;
        assert_booked(deployment, &printed).await
    })
    .await
}

#[tokio::test]
async fn the_generated_typescript_client_books_and_follows_the_ticket() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let directory = directory("typescript-client")?;
        let packages = Path::new(REPOSITORY).canonicalize()?.join(".dev/npm/node_modules");
        ensure!(packages.exists(), "the npm packages are missing; `make test` installs them");
        std::os::unix::fs::symlink(packages, directory.join("node_modules"))?;
        fs::write(directory.join("book.mts"), example("ts", deployment)?)?;
        let document = deployment.client().url("/openapi.json");
        let generator = "node_modules/openapi-typescript/bin/cli.js";
        run(&directory, "node", &[generator, &document, "--output", "hamro-concert.d.ts"]).await?;
        let compiler = ["node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--skipLibCheck"];
        let options =
            ["--target", "es2024", "--module", "nodenext", "--allowImportingTsExtensions", "book.mts"];
        run(&directory, "node", &[&compiler[..], &options[..]].concat()).await?;
        let printed = run(&directory, "node", &["book.mts"]).await?;
        assert_booked(deployment, &printed).await
    })
    .await
}

#[tokio::test]
async fn the_generated_python_client_books_and_follows_the_ticket() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let directory = directory("python-client")?;
        fs::write(directory.join("book.py"), example("python", deployment)?)?;
        let document = deployment.client().url("/openapi.json");
        let generate = ["generate", "--url", &document, "--output-path", "client", "--fail-on-warning"];
        run(&directory, "openapi-python-client", &generate).await?;
        // The cache outlives the directory: without it, mypy analyses the libraries for ten seconds.
        run(&directory, "mypy", &["--strict", "--cache-dir", "../mypy-cache", "book.py"]).await?;
        let printed = run(&directory, "python3", &["book.py"]).await?;
        assert_booked(deployment, &printed).await
    })
    .await
}
