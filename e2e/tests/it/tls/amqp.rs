//! `amqps://`. The tests open further listeners on the broker that all tests share.

use std::cell::RefCell;
use std::net::TcpListener;

use anyhow::{Context, Result};
use hamro_e2e::certificates::{Authority, Files};
use hamro_e2e::outage::{rabbitmqctl, run};
use hamro_e2e::{Deployment, Setup, wait_until};
use hamro_shared::config::Env;
use hamro_shared::queue::{Broker, BrokerConfig};

/// A listener of the broker for TLS. Dropping it closes the listener, but no connection.
struct Listener {
    port: u16,
}

impl Listener {
    /// `options` are those of Erlang's `ssl:listen`.
    fn open(options: &str) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let open = format!(
            "{{ok, _}} = application:ensure_all_started(ssl), \
             ok = rabbit_networking:start_ssl_listener({{\"127.0.0.1\", {port}, inet}}, [{options}], 1)."
        );
        run(rabbitmqctl(&["eval", &open])?)?;
        Ok(Self { port })
    }
}

impl Drop for Listener {
    #[expect(clippy::print_stderr, reason = "a drop cannot fail")]
    fn drop(&mut self) {
        let close = format!("rabbit_networking:stop_tcp_listener({{\"127.0.0.1\", {}, inet}}).", self.port);
        if let Err(error) = rabbitmqctl(&["eval", &close]).and_then(run) {
            eprintln!("{error:#}");
        }
    }
}

/// A URL like the deployment's with another scheme and port, and with parameters.
fn url(deployment: &Deployment, scheme: &str, port: u16, parameters: &str) -> Result<String> {
    let url = deployment.environment(&[]).into_iter().find(|(name, _)| name == "AMQP_URL");
    let (_, url) = url.context("no AMQP_URL")?;
    let (credentials, rest) =
        url.split_once("://").and_then(|(_, rest)| rest.split_once('@')).context("no user")?;
    let (_, virtual_host) = rest.split_once('/').context("no virtual host")?;
    let separator = if parameters.is_empty() { "" } else { "?" };
    Ok(format!("{scheme}://{credentials}@127.0.0.1:{port}/{virtual_host}{separator}{parameters}"))
}

/// What a connection with this URL fails with, or nothing.
async fn failure(deployment: &Deployment, url: &str) -> Result<String> {
    let prefix = deployment.environment(&[]).into_iter().find(|(name, _)| name == "QUEUE_PREFIX");
    let mut env = Env::of(&[("AMQP_URL", url), ("QUEUE_PREFIX", &prefix.context("no prefix")?.1)]);
    let config = BrokerConfig::read(&mut env);
    let broker = Broker::new(&env.finish(config)?, "hamro-e2e");
    Ok(broker.declare().await.err().map(|error| format!("{error:#}")).unwrap_or_default())
}

#[tokio::test]
async fn a_broker_is_used_only_if_its_certificate_is_valid_and_a_failure_says_what_to_change() -> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        let (authority, stranger, files) = (Authority::new()?, Authority::new()?, Files::new()?);
        let ca = files.write("ca.pem", &authority.pem)?;
        let unknown_ca = files.write("unknown-ca.pem", &stranger.pem)?;
        let own = format!("cacertfile={ca}");
        let (client, client_key) = files.write_issued("client", &authority.issue("shop")?)?;
        let (false_client, false_key) = files.write_issued("false-client", &stranger.issue("shop")?)?;
        let listener = |name: &str, issued, more: &str| {
            let (certificate, key) = files.write_issued(name, &issued)?;
            let options =
                format!("{{cacertfile, \"{ca}\"}}, {{certfile, \"{certificate}\"}}, {{keyfile, \"{key}\"}}");
            Listener::open(&format!("{options}{more}"))
        };
        let valid = listener("valid", authority.issue("127.0.0.1")?, "")?;
        let tls12 = listener("tls12", authority.issue("127.0.0.1")?, ", {versions, ['tlsv1.2']}")?;
        let tls11 = listener("tls11", authority.issue("127.0.0.1")?, ", {versions, ['tlsv1.1']}")?;
        let expired = listener("expired", authority.issue_expired("127.0.0.1")?, "")?;
        let elsewhere = listener("elsewhere", authority.issue("rabbit.example.com")?, "")?;
        let mutual = ", {verify, verify_peer}, {fail_if_no_peer_cert, true}";
        let mutual = listener("mutual", authority.issue("127.0.0.1")?, mutual)?;
        let plain = plain_port(deployment)?;
        for (scheme, port, parameters, expected) in [
            ("amqps", valid.port, own.clone(), ""),
            ("amqps", tls12.port, own.clone(), ""),
            ("amqps", mutual.port, format!("{own}&certfile={client}&keyfile={client_key}"), ""),
            (
                "amqps",
                valid.port,
                String::new(),
                "is not signed by an authority that this process trusts: name the file",
            ),
            ("amqps", valid.port, format!("cacertfile={unknown_ca}"), "is not signed by an authority"),
            ("amqps", expired.port, own.clone(), "the server's certificate has expired: renew it"),
            (
                "amqps",
                elsewhere.port,
                own.clone(),
                "the server's certificate is for another host: write a name",
            ),
            ("amqps", tls11.port, own.clone(), "enable TLS 1.2 or 1.3 on the server"),
            (
                "amqps",
                mutual.port,
                own.clone(),
                "the server requires a certificate of this process: name one",
            ),
            (
                "amqps",
                mutual.port,
                format!("{own}&certfile={false_client}&keyfile={false_key}"),
                "the server refuses the certificate of this process: name a valid one",
            ),
            ("amqps", plain, own.clone(), "the server does not speak TLS on this port: correct the port"),
            ("amqp", valid.port, String::new(), "RabbitMQ at 127.0.0.1"),
        ] {
            let url = url(deployment, scheme, port, &parameters)?;
            let (_, password) = url.split_once("://hamro:").context("another user")?;
            let password = password.split('@').next().unwrap_or_default();
            let last = RefCell::new(String::new());
            // With TLS 1.3, the broker refuses a client after the handshake. A write may fail before that is read.
            let met = wait_until(&format!("{scheme} {parameters} leads to {expected:?}"), async || {
                let failure = failure(deployment, &url).await?;
                assert!(!failure.contains(password), "{failure}");
                let matches = failure.is_empty() == expected.is_empty() && failure.contains(expected);
                *last.borrow_mut() = failure;
                Ok(matches.then_some(()))
            })
            .await;
            met.with_context(|| format!("the last failure was {:?}", last.borrow()))?;
        }
        Ok(())
    })
    .await
}

fn plain_port(deployment: &Deployment) -> Result<u16> {
    let url = deployment.environment(&[]).into_iter().find(|(name, _)| name == "AMQP_URL");
    let (_, url) = url.context("no AMQP_URL")?;
    let port = url.rsplit_once(':').and_then(|(_, rest)| rest.split_once('/')).context("no port")?.0;
    Ok(port.parse()?)
}

#[tokio::test]
async fn certificates_that_are_replaced_take_effect_without_a_restart() -> Result<()> {
    Deployment::run(Setup { expects_errors: true, ..Setup::without_processes() }, async |deployment| {
        let (authority, stranger, files) = (Authority::new()?, Authority::new()?, Files::new()?);
        let ca = files.write("ca.pem", &stranger.pem)?;
        let (certificate, key) = files.write_issued("server", &authority.issue("127.0.0.1")?)?;
        let listener = Listener::open(&format!("{{certfile, \"{certificate}\"}}, {{keyfile, \"{key}\"}}"))?;
        let url = url(deployment, "amqps", listener.port, &format!("cacertfile={ca}"))?;
        let api = deployment.launch_api(&[("AMQP_URL", &url)]).await?;
        let unready = async |deployment: &Deployment, cause: &str| {
            wait_until(&format!("readiness names {cause:?}"), async || {
                let ready = deployment.apis[api].client.get("/health/ready").await?;
                Ok((ready.status == 503 && ready.body.to_string().contains(cause)).then_some(()))
            })
            .await
        };
        unready(deployment, "the server's certificate is not signed by an authority").await?;

        files.write("ca.pem", &authority.pem)?;
        deployment.apis[api].client.wait_until_ready().await?;
        deployment.start_worker(&[("AMQP_URL", &url)]).await?;
        let client = deployment.apis[api].client.clone();
        let seats = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);

        files.write_issued("server", &authority.issue_expired("127.0.0.1")?)?;
        close_connections(listener.port)?;
        unready(deployment, "the server's certificate has expired").await?;

        files.write_issued("server", &authority.issue("127.0.0.1")?)?;
        close_connections(listener.port)?;
        client.wait_until_ready().await?;
        let accepted = client.create_booking("bob", &seats[1..2]).await?;
        assert_eq!(accepted.status, 202);
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

/// Makes the broker read certificates again, and closes the connections to a port.
fn close_connections(port: u16) -> Result<()> {
    let close = format!(
        "ssl:clear_pem_cache(), \
         [rabbit_networking:close_connection(Pid, <<\"a test\">>) || Pid <- rabbit_networking:connections(), \
          rabbit_networking:connection_info(Pid, [port]) =:= [{{port, {port}}}]]."
    );
    run(rabbitmqctl(&["eval", &close])?)
}
