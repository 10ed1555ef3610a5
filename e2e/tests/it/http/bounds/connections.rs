//! Clients that open as many connections as they can.

use std::net::Ipv4Addr;

use anyhow::Result;
use futures_util::future::try_join_all;
use hamro_e2e::{Deployment, Setup, wait_until};

use super::{ATTACKER, HONEST, connect, get};

#[tokio::test]
async fn a_client_with_its_share_of_connections_is_refused_more_and_others_are_served() -> Result<()> {
    // Ten connections per client.
    let variables = vec![("CONNECTIONS_MAX", "40"), ("CLIENT_SHARE", "25")];
    Deployment::run(Setup { workers: 0, variables, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let taken = try_join_all((0..10).map(|_| connect(client, ATTACKER))).await?;
        let refused = get(client, ATTACKER, "/concerts").await?;
        assert!(refused.is_refusal(429, "client-limit-reached"), "{refused:?}");
        assert_eq!(get(client, ATTACKER, "/health/live").await?.status, 200);
        for _ in 0..20 {
            assert_eq!(get(client, HONEST, "/concerts").await?.status, 200);
        }
        drop(taken);
        wait_until("the client is served again", async || {
            Ok((get(client, ATTACKER, "/concerts").await?.status == 200).then_some(()))
        })
        .await?;
        deployment.apis[0].process.line_after("client-limit-reached").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_health_check_is_answered_while_clients_hold_all_connections() -> Result<()> {
    let variables = vec![("CONNECTIONS_MAX", "10"), ("CLIENT_SHARE", "100")];
    Deployment::run(Setup { workers: 0, variables, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        // More than all places, those for refused connections included, and from many addresses.
        let addresses = (0..200).map(|last| Ipv4Addr::new(127, 0, 1, last));
        let taken = try_join_all(addresses.map(|address| connect(client, address))).await?;
        wait_until("the connections are taken", async || {
            let refused = get(client, HONEST, "/concerts").await?;
            Ok(refused.is_refusal(503, "overloaded").then_some(()))
        })
        .await?;
        for _ in 0..20 {
            assert_eq!(get(client, Ipv4Addr::LOCALHOST, "/health/live").await?.status, 200);
        }
        drop(taken);
        wait_until("an honest client is served", async || {
            Ok((get(client, HONEST, "/concerts").await?.status == 200).then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn an_instance_renews_its_broker_connections_while_clients_hold_all_that_the_open_files_allow()
-> Result<()> {
    Deployment::run(Setup { expects_errors: true, ..Setup::without_processes() }, async |deployment| {
        let (proxy, amqp_url) = deployment.broker_behind_proxy().await?;
        // Half of them are for clients.
        let variables = [("AMQP_URL", amqp_url.as_str()), ("CLIENT_SHARE", "100")];
        deployment.start_api_with_open_files(300, &variables).await?;
        deployment.start_worker(&[]).await?;
        let client = deployment.client().clone();
        let addresses = (0..600).map(|number: u16| Ipv4Addr::from_bits(0x7f00_0100 + u32::from(number)));
        let taken = try_join_all(addresses.map(|address| connect(&client, address))).await?;
        wait_until("the connections are taken", async || {
            let refused = get(&client, HONEST, "/concerts").await?;
            Ok(refused.is_refusal(503, "overloaded").then_some(()))
        })
        .await?;
        for _ in 0..3 {
            let before = proxy.accepted();
            proxy.cut();
            wait_until("the instance has reconnected", async || {
                let ready = get(&client, HONEST, "/health/ready").await?;
                Ok((proxy.accepted() >= before + 2 && ready.status == 200).then_some(()))
            })
            .await?;
        }
        drop(taken);
        let seats =
            wait_until("an honest client is served", async || Ok(client.seat_ids(0).await.ok())).await?;
        assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);
        let printed = deployment.apis[0].process.printed();
        assert!(!printed.contains("Too many open files") && !printed.contains("panicked"), "{printed}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_clients_behind_a_trusted_proxy_are_not_limited_by_its_address() -> Result<()> {
    let variables = vec![("CONNECTIONS_MAX", "40"), ("CLIENT_SHARE", "10"), ("TRUSTED_PROXIES", "127.0.0.2")];
    Deployment::run(Setup { workers: 0, variables, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let _taken = try_join_all((0..20).map(|_| connect(client, ATTACKER))).await?;
        assert_eq!(get(client, ATTACKER, "/concerts").await?.status, 200);
        Ok(())
    })
    .await
}
