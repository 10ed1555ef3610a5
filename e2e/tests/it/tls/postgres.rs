//! `sslmode`, on a server of this test's own.

use anyhow::{Context, Result};
use hamro_e2e::certificates::{Authority, Files, Issued};
use hamro_e2e::own_postgres::OwnPostgres;
use hamro_e2e::{Deployment, Setup, wait_until};
use hamro_shared::config::Env;
use hamro_shared::database::DatabaseConfig;

/// The certificate that the server presents to new connections.
async fn present(server: &OwnPostgres, issued: &Issued) -> Result<()> {
    server.write("server.pem", &issued.certificate).await?;
    server.write("server-key.pem", &issued.key).await?;
    server.configure(&[]).await
}

/// Which clients may log in. The superuser needs no certificate.
async fn let_in(server: &OwnPostgres, rule: &str) -> Result<()> {
    let rules = format!("host all hamro 127.0.0.1/32 scram-sha-256\n{rule}");
    server.write("pg_hba.conf", &rules).await?;
    server.configure(&[]).await
}

/// Whether a session with this URL is encrypted, or what fails.
async fn encrypted(url: &str) -> Result<bool> {
    let mut env = Env::of(&[("DATABASE_URL", url)]);
    let config = DatabaseConfig::read(&mut env);
    let mut session = env.finish(config)?.sessions("hamro-e2e", &[]).open().await?;
    let query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    Ok(sqlx::query_scalar(query).fetch_one(&mut session.connection).await?)
}

async fn assert_all(url: &str, cases: &[(&str, Result<bool, &str>)]) {
    for (parameters, expected) in cases {
        // The server applies a changed configuration within milliseconds.
        let met = wait_until(&format!("{parameters:?} leads to {expected:?}"), async || {
            let found = encrypted(&format!("{url}?{parameters}")).await.map_err(|error| format!("{error:#}"));
            Ok(match (&found, expected) {
                (Ok(found), Ok(expected)) => found == expected,
                (Err(found), Err(expected)) => found.contains(expected),
                _ => false,
            }
            .then_some(()))
        })
        .await;
        if let Err(error) = met {
            panic!("{error:#}; the last result was {:?}", encrypted(&format!("{url}?{parameters}")).await);
        }
    }
}

#[tokio::test]
async fn postgres_is_used_only_if_its_certificate_is_valid_and_a_failure_says_what_to_change() -> Result<()> {
    let server = OwnPostgres::start("tls")?;
    let (authority, stranger, files) = (Authority::new()?, Authority::new()?, Files::new()?);
    let url = server.url();
    let off = "the server offers no encryption: set ssl = on in its postgresql.conf";
    assert_all(url, &[("", Ok(false)), ("sslmode=require", Err(off)), ("sslmode=verify-full", Err(off))])
        .await;

    let ca = files.write("ca.pem", &authority.pem)?;
    let unknown_ca = files.write("unknown-ca.pem", &stranger.pem)?;
    let (client, client_key) = files.write_issued("client", &authority.issue("hamro_app")?)?;
    let (own, unknown) = (format!("sslrootcert={ca}"), format!("sslrootcert={unknown_ca}"));
    server.write("ca.pem", &authority.pem).await?;
    present(&server, &authority.issue("127.0.0.1")?).await?;
    server
        .configure(&[
            "ALTER SYSTEM SET ssl_cert_file = 'server.pem'",
            "ALTER SYSTEM SET ssl_key_file = 'server-key.pem'",
            "ALTER SYSTEM SET ssl_ca_file = 'ca.pem'",
            "ALTER SYSTEM SET ssl = on",
        ])
        .await?;
    let untrusted = "is not signed by an authority that this process trusts: name the file";
    assert_all(
        url,
        &[
            (&format!("sslmode=verify-full&{own}"), Ok(true)),
            (&format!("sslmode=verify-ca&{own}"), Ok(true)),
            ("", Ok(true)),
            ("sslmode=require", Ok(true)),
            ("sslmode=disable", Ok(false)),
            ("sslmode=verify-full", Err(untrusted)),
            (&format!("sslmode=verify-full&{unknown}"), Err(untrusted)),
            // As in libpq, an authority is a reason to verify.
            (&format!("sslmode=require&{unknown}"), Err(untrusted)),
        ],
    )
    .await;

    server.configure(&["ALTER SYSTEM SET ssl_max_protocol_version = 'TLSv1.2'"]).await?;
    assert_all(url, &[(&format!("sslmode=verify-full&{own}"), Ok(true))]).await;
    server.configure(&["ALTER SYSTEM RESET ssl_max_protocol_version"]).await?;

    present(&server, &authority.issue("db.example.com")?).await?;
    assert_all(
        url,
        &[
            (&format!("sslmode=verify-full&{own}"), Err("the server's certificate is for another host")),
            (&format!("sslmode=verify-ca&{own}"), Ok(true)),
        ],
    )
    .await;
    present(&server, &authority.issue_expired("127.0.0.1")?).await?;
    let expired = "the server's certificate has expired: renew it";
    assert_all(url, &[(&format!("sslmode=verify-full&{own}"), Err(expired))]).await;

    present(&server, &authority.issue("127.0.0.1")?).await?;
    let_in(&server, "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full").await?;
    assert_all(
        url,
        &[
            (&format!("sslmode=verify-full&{own}&sslcert={client}&sslkey={client_key}"), Ok(true)),
            (
                &format!("sslmode=verify-full&{own}"),
                Err("requires a valid client certificate: name one in the parameters sslcert"),
            ),
            ("sslmode=disable", Err("no encryption: set sslmode=verify-full")),
        ],
    )
    .await;
    Ok(())
}

#[tokio::test]
async fn an_authority_and_a_certificate_of_postgres_that_are_replaced_take_effect_without_a_restart()
-> Result<()> {
    let server = OwnPostgres::start("tls-replaced")?;
    let (authority, stranger, files) = (Authority::new()?, Authority::new()?, Files::new()?);
    present(&server, &authority.issue("127.0.0.1")?).await?;
    server
        .configure(&[
            "ALTER SYSTEM SET ssl_cert_file = 'server.pem'",
            "ALTER SYSTEM SET ssl_key_file = 'server-key.pem'",
            "ALTER SYSTEM SET ssl = on",
        ])
        .await?;
    let ca = files.write("ca.pem", &stranger.pem)?;
    let variables = vec![("DATABASE_URL", server.url())];
    let setup = Setup { variables, expects_errors: true, ..Setup::without_processes() };
    Deployment::run(setup, async |deployment| {
        let url = deployment.environment(&[]).into_iter().find(|(name, _)| name == "DATABASE_URL");
        let (_, url) = url.context("no DATABASE_URL")?;
        let url =
            format!("{}?sslmode=verify-full&sslrootcert={ca}", url.split('?').next().unwrap_or_default());
        let api = deployment.launch_api(&[("DATABASE_URL", &url)]).await?;
        deployment.apis[api]
            .process
            .line_after("is not signed by an authority that this process trusts")
            .await?;

        files.write("ca.pem", &authority.pem)?;
        deployment.apis[api].client.wait_until_ready().await?;
        deployment.start_worker(&[("DATABASE_URL", &url)]).await?;
        let client = deployment.apis[api].client.clone();
        let seats = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);

        present(&server, &authority.issue_expired("127.0.0.1")?).await?;
        let verified = format!("sslmode=verify-full&sslrootcert={ca}");
        assert_all(server.url(), &[(&verified, Err("the server's certificate has expired"))]).await;
        let end =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'hamro-%-%'";
        server.configure(&[end]).await?;
        let accepted = client.create_booking("bob", &seats[1..2]).await?;
        assert_eq!(accepted.status, 202);
        deployment.workers[0].line_after("the server's certificate has expired").await?;

        present(&server, &authority.issue("127.0.0.1")?).await?;
        wait_until("the booking is settled", async || {
            let status = client.get(accepted.location()?).await?;
            Ok((status.body["status"] == "confirmed").then_some(()))
        })
        .await?;
        deployment.stop_apis().await?;
        deployment.drain_and_stop_workers().await
    })
    .await
}
