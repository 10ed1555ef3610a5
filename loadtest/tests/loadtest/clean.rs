//! Tests of `clean` and `run --clean` against the real system.

use anyhow::Result;
use hamro_e2e::{Deployment, Setup, tables::count};

use crate::loader::{command, run, verify};

const SPREAD: &str = "spread --rate 200 --buyers 20";

async fn clean(url: &str, more: &[&str]) -> Result<(i32, String)> {
    let output = command(&["clean", "--url", url], &[]).args(more).output().await?;
    let printed = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    Ok((output.status.code().unwrap_or(-1), printed))
}

#[tokio::test]
async fn clean_removes_the_concerts_of_load_tests_with_what_was_sold_and_nothing_else() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let url = deployment.client().url("");
        let listed = count(&deployment.pool, "concerts").await?;
        let (concert, _) = deployment.client().seat_map(0).await?;
        let kept = run(&url, &format!("spread --rate 50 --buyers 10 --concert {concert}"), &[]).await?;
        assert_eq!(kept.code, 0, "{}", kept.printed);
        for _ in 0..2 {
            let outcome = run(&url, SPREAD, &[]).await?;
            assert_eq!(outcome.code, 0, "{}", outcome.printed);
            assert!(outcome.printed.contains("1 concert kept"), "{}", outcome.printed);
        }
        assert_eq!(count(&deployment.pool, "concerts").await?, listed + 2);
        assert_eq!(count(&deployment.pool, "sales").await?, 50);

        let (code, printed) = clean(&url, &[]).await?;
        assert_eq!(code, 2, "{printed}");
        assert!(printed.contains("use --yes"), "{printed}");
        assert_eq!(
            count(&deployment.pool, "concerts").await?,
            listed + 2,
            "nothing is removed without --yes"
        );

        let (code, printed) = clean(&url, &["--yes"]).await?;
        assert_eq!(code, 0, "{printed}");
        assert_eq!(printed.matches("Load test ").count(), 2, "{printed}");
        assert!(printed.contains("2 concerts removed"), "{printed}");
        assert_eq!(count(&deployment.pool, "concerts").await?, listed);
        assert_eq!(count(&deployment.pool, "sales").await?, 10, "the sales of other concerts stay");

        let (code, printed) = clean(&url, &["--yes"]).await?;
        assert_eq!(code, 0, "{printed}");
        assert!(printed.contains("has no concerts of load tests"), "{printed}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_run_with_clean_removes_its_concert_and_one_without_can_be_verified_again() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let url = deployment.client().url("");
        let listed = count(&deployment.pool, "concerts").await?;
        let outcome = run(&url, &format!("{SPREAD} --clean"), &[]).await?;
        assert_eq!(outcome.code, 0, "{}", outcome.printed);
        assert!(outcome.printed.contains("1 concert removed"), "{}", outcome.printed);
        assert_eq!(count(&deployment.pool, "concerts").await?, listed);
        assert_eq!(count(&deployment.pool, "sales").await?, 0);

        let outcome = run(&url, SPREAD, &[]).await?;
        let (code, printed) = verify(&outcome.files.journal(), &[]).await?;
        assert_eq!(code, 0, "{printed}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn clean_needs_the_admin_token() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let url = deployment.client().url("");
        let output =
            command(&["clean", "--url", &url, "--yes"], &[("ADMIN_TOKEN", "wrong")]).output().await?;
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{printed}");
        assert!(printed.contains("ADMIN_TOKEN must be the api's"), "{printed}");
        Ok(())
    })
    .await
}
