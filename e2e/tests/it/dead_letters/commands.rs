//! Listing, showing and discarding dead letters, and the errors of all commands.

use anyhow::Result;
use hamro_e2e::Deployment;
use hamro_e2e::deployment::envelope;

use super::{dead_letter, json, run, stderr_of, stdout_of, with_dead_letters};

#[tokio::test]
async fn dead_letters_can_be_listed_shown_and_discarded() -> Result<()> {
    Deployment::run(with_dead_letters(), async |deployment| {
        assert_eq!(stdout_of(deployment, &["list"]).await?, "No dead letters.\n");
        let seats = deployment.client().seat_ids(0).await?;
        let alice = envelope("alice", &seats[..1])?;
        let id = dead_letter(deployment, &alice).await?;
        deployment.publish(b"no \xff parcel").await?;
        deployment.drained().await?;

        let list = stdout_of(deployment, &["list"]).await?;
        let lines: Vec<&str> = list.lines().collect();
        assert_eq!(lines.len(), 3, "{list}");
        assert!(lines[0].starts_with("ID  TIME"), "{list}");
        assert!(
            lines[1].contains(&alice.ticket.id.to_string()) && lines[1].contains("workers-died"),
            "{list}"
        );
        assert!(lines[2].contains("unknown") && lines[2].contains("unreadable-parcel"), "{list}");
        assert!(!list.contains("alice"), "{list}");
        let newest = stdout_of(deployment, &["list", "--limit", "1"]).await?;
        assert!(newest.contains("unreadable-parcel") && newest.contains("1 older not shown"), "{newest}");

        let shown = stdout_of(deployment, &["show", &id]).await?;
        assert!(shown.contains("alice@example.com") && shown.contains("(failed)"), "{shown}");
        let shown = json(deployment, &["show", &id]).await?;
        assert_eq!(shown["payload"].as_str().map(str::as_bytes), Some(alice.clone().encode().as_slice()));
        let unreadable = json(deployment, &["list"]).await?["deadLetters"][1]["id"].to_string();
        let shown = json(deployment, &["show", &unreadable]).await?;
        assert_eq!(shown["payloadHex"], "6e6f20ff2070617263656c");

        let discarded =
            stdout_of(deployment, &["discard", &id, "--because", "she has got other seats"]).await?;
        assert_eq!(discarded, format!("Dead letter {id} is discarded.\n"));
        let list = json(deployment, &["list"]).await?;
        assert_eq!((&list["total"], list["deadLetters"].as_array().map(Vec::len)), (&1.into(), Some(1)));
        let all = stdout_of(deployment, &["list", "--all"]).await?;
        assert!(all.lines().nth(1).is_some_and(|line| line.ends_with("discarded")), "{all}");
        let shown = stdout_of(deployment, &["show", &id]).await?;
        assert!(shown.contains("she has got other seats"), "{shown}");
        for again in [&["discard", &id, "--because", "twice"][..], &["reissue", &id]] {
            let error = stderr_of(deployment, again, &[]).await?;
            assert!(error.contains("was already discarded"), "{error}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn failed_commands_explain_the_error_and_exit_with_a_nonzero_code() -> Result<()> {
    Deployment::run(with_dead_letters(), async |deployment| {
        deployment.start_worker(&[]).await?;
        deployment.publish(b"no parcel").await?;
        deployment.drained().await?;
        let id = json(deployment, &["list"]).await?["deadLetters"][0]["id"].to_string();
        let error = stderr_of(deployment, &["reissue", &id], &[]).await?;
        assert!(error.contains("cannot be reissued: its payload is no"), "{error}");
        for unknown in [&["show", "999"][..], &["reissue", "999"], &["discard", "999", "--because", "x"]] {
            let error = stderr_of(deployment, unknown, &[]).await?;
            assert!(error.contains("there is no dead letter 999"), "{error}");
        }
        let error = stderr_of(deployment, &["list"], &[("DATABASE_URL", "")]).await?;
        assert!(error.contains("DATABASE_URL is not set"), "{error}");
        let away = ("DATABASE_URL", "postgres://hamro@127.0.0.1:1/hamro");
        let error = stderr_of(deployment, &["list"], &[away]).await?;
        assert!(error.contains("the database cannot be reached"), "{error}");
        let error = stderr_of(deployment, &["reissue", &id], &[("TICKET_KEYS", "")]).await?;
        assert!(error.contains("TICKET_KEYS is not set"), "{error}");
        for invalid in [
            &["discard", &id][..],
            &["discard", &id, "--because", ""],
            &["list", "--limit", "0"],
            &["show", "x"],
        ] {
            assert_eq!(run(deployment, invalid, &[]).await?.status.code(), Some(2), "{invalid:?}");
        }
        // These commands need only the database.
        let database_only = [("AMQP_URL", ""), ("TICKET_KEYS", "")];
        for command in [&["list"][..], &["show", &id], &["discard", &id, "--because", "it cannot be read"]] {
            let output = run(deployment, command, &database_only).await?;
            assert!(output.status.success(), "{command:?}: {output:?}");
        }
        Ok(())
    })
    .await
}
