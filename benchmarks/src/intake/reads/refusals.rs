//! Bookings of seats that are sold, beside the same server without a broker, which accepts all.

use anyhow::Result;
use hamro_e2e::Deployment;
use hamro_e2e::stats::{median, print};

use super::concerts::wait_until_idle;
use super::{Concert, setup};
use crate::bare::BareServer;
use crate::wrk::{BOOK_AGAIN, Measured, Wrk};

const SEATS: usize = 300;
const ROUNDS: usize = 3;
const SECONDS: u32 = 2;
const ENDPOINTS: [&str; 2] = ["/ticket-bookings", "/ticket-bookings/seats"];

pub async fn run() -> Result<()> {
    let setup = hamro_e2e::Setup { expects_leftovers: true, ..setup() };
    Deployment::run(setup, async |deployment| measure(deployment).await).await
}

async fn measure(deployment: &Deployment) -> Result<()> {
    let concert = Concert::create_sold_out(deployment, SEATS).await?;
    let bare = BareServer::start(deployment).await?;
    let before = bookings(deployment).await?;
    let (mut ratios, mut last) = ([Vec::new(), Vec::new()], [Measured::default(); 2]);
    for _ in 0..ROUNDS {
        let yardstick = book(&bare.url, ENDPOINTS[0], &concert).await?.rate;
        for (number, path) in ENDPOINTS.into_iter().enumerate() {
            let measured = book(&deployment.client().url(""), path, &concert).await?;
            ratios[number].push((measured.rate + measured.refused) / yardstick);
            last[number] = measured;
            // What was queued must not slow the next measurement.
            wait_until_idle(deployment).await?;
        }
    }
    let rows = bookings(deployment).await? - before;
    print(
        "\n| refused because sold | requests/s | refused at once or after waiting | ÷ server without broker |",
    );
    print("| --- | --- | --- | --- |");
    for (number, path) in ENDPOINTS.into_iter().enumerate() {
        let Measured { rate, refused, .. } = last[number];
        let ratio = median(std::mem::take(&mut ratios[number]));
        let share = 100.0 * refused / (rate + refused);
        print(format!("| `POST {path}` | {:.0} | {share:.1} % | {ratio:.2} |", rate + refused));
    }
    print(format!("\nreads: the refusals added {rows} rows of bookings"));
    Ok(())
}

async fn book(url: &str, path: &str, concert: &Concert) -> Result<Measured> {
    let arguments: [&dyn std::fmt::Display; 3] = [&path, &concert.first_seat, &SEATS];
    Wrk::new(url).seconds(SECONDS).script(BOOK_AGAIN, &arguments).run().await
}

async fn bookings(deployment: &Deployment) -> Result<i64> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM bookings").fetch_one(&deployment.pool).await?)
}
