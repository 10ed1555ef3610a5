//! The concerts of a run: existing ones, or test concerts that are created for it through the api. Test concerts are not
//! listed publicly, and can be removed with what was sold.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use hamro_shared::backoff::Backoff;
use hyper::Method;
use hyper::header::AGE;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use crate::http::{Client, HttpResponse, RequestBuilder};
use crate::journal::Concert;

/// The maximum size of a block of seats in the api.
const ROWS: usize = 200;
const SEATS_A_ROW: usize = 500;
/// The ticket type of all tiers that are created here, and the beginning of the titles of their concerts.
const LOAD_TEST: &str = "Load test";
/// The maximum page size of the api's lists.
const PAGE: usize = 1_000;
/// No instance sends an older seat map than this.
const OLDEST_SEAT_MAP: Duration = Duration::from_secs(130);
/// The documents of the api contain every sale a second after it.
const CURRENT_AFTER: Duration = Duration::from_millis(1_100);
/// How often to repeat a deletion that the api could not finish.
const ATTEMPTS: usize = 5;

/// The concerts and seats that buyers can book.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeatPool {
    pub concerts: Vec<Concert>,
    /// The ids of all free seats.
    pub seats: Vec<i32>,
}

/// What to create.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub seats: usize,
    /// The maximum number of seats per concert, because a seat map is a single response.
    pub seats_a_concert: usize,
    /// Price tiers per concert.
    pub tiers: usize,
}

/// Writes to the catalogue with the admin token.
pub struct CatalogueSetup<'a> {
    client: &'a Client,
    token: &'a SecretString,
}

/// The fields of a seat map that are needed here.
#[derive(Deserialize)]
struct SeatMap {
    seats: Vec<Seat>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seat {
    pub id: i32,
    pub is_booked: bool,
    pub ticket_tier_id: i32,
}

/// A tier's counters.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tier {
    pub id: i32,
    pub total: i64,
    pub available: i64,
    pub concert_id: Uuid,
}

/// A concert that a load test has created.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TestConcert {
    pub id: Uuid,
    pub title: String,
}

#[derive(Deserialize)]
struct Created<T> {
    id: T,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page<T> {
    data: Vec<T>,
}

impl SeatPool {
    /// Finds the free seats of existing concerts.
    pub async fn find(client: &Client, concerts: &[Uuid]) -> Result<Self> {
        let mut seat_pool = Self::default();
        for &id in concerts {
            let seats = seat_map(client, id).await?;
            let (sold, free): (Vec<Seat>, Vec<Seat>) = seats.into_iter().partition(|seat| seat.is_booked);
            let sold_before: Vec<i32> = sold.iter().map(|seat| seat.id).collect();
            seat_pool.concerts.push(Concert { id, seats: sold.len() + free.len(), sold_before });
            seat_pool.seats.extend(free.iter().map(|seat| seat.id));
        }
        Ok(seat_pool)
    }
}

/// The seats of a concert. An instance may send an earlier seat map, with its age, while seats of a large concert are sold. So this
/// asks until the seat map is current, or so long that another cache must have added the age.
pub async fn seat_map(client: &Client, concert: Uuid) -> Result<Vec<Seat>> {
    let deadline = Instant::now() + OLDEST_SEAT_MAP;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        let reply = client.get(&format!("/seats/concert/{concert}")).await?;
        let map: SeatMap = read(&reply, 200).with_context(|| format!("reading the seat map of {concert}"))?;
        if reply.header(AGE).is_none() || Instant::now() > deadline {
            return Ok(map.seats);
        }
        backoff.pause().await;
    }
}

/// Waits until the documents of all instances contain what has been settled.
#[expect(clippy::disallowed_methods, reason = "a client cannot know when an instance compares its seat maps")]
pub async fn wait_until_current() {
    sleep(CURRENT_AFTER).await;
}

/// The tiers of a concert, which may be a test concert.
pub async fn tiers(client: &Client, concert: Uuid) -> Result<Vec<Tier>> {
    let reply = client.get(&format!("/ticket-tiers?concertId={concert}&limit={PAGE}")).await?;
    let listed: Option<Page<Tier>> = read(&reply, 200).ok();
    let mut tiers = listed.map(|page| page.data).unwrap_or_default();
    tiers.retain(|tier| tier.concert_id == concert);
    if tiers.is_empty() {
        // The earlier system does not know this filter.
        tiers = read(&client.get("/ticket-tiers/all").await?, 200).context("reading the tiers")?;
        tiers.retain(|tier| tier.concert_id == concert);
    }
    Ok(tiers)
}

impl<'a> CatalogueSetup<'a> {
    pub fn new(client: &'a Client, token: &'a SecretString) -> Self {
        Self { client, token }
    }

    /// Creates concerts with seats.
    pub async fn make(&self, size: Size, run: &str) -> Result<SeatPool> {
        ensure!(size.seats_a_concert >= size.tiers, "a concert needs at least one seat per tier");
        let kinds = self.ticket_types(size.tiers.min(size.seats)).await?;
        let mut concerts = Vec::new();
        let mut left = size.seats;
        while left > 0 {
            let seats = left.min(size.seats_a_concert);
            concerts.push(self.concert(run, seats, &kinds[..kinds.len().min(seats)]).await?);
            left -= seats;
        }
        SeatPool::find(self.client, &concerts).await
    }

    /// All concerts that load tests have created and nobody has removed.
    pub async fn test_concerts(&self) -> Result<Vec<TestConcert>> {
        let mut concerts = Vec::new();
        for number in 1.. {
            let path = format!("/concerts?test=true&page={number}&limit={PAGE}");
            let reply = self.request(Method::GET, &path).send().await?;
            let page: Page<TestConcert> = read_admin(&reply, 200, &path)?;
            let is_last = page.data.len() < PAGE;
            concerts.extend(page.data.into_iter().filter(|concert| concert.title.starts_with(LOAD_TEST)));
            if is_last {
                break;
            }
        }
        Ok(concerts)
    }

    /// Removes a test concert with what was sold. One that is already gone is not an error.
    pub async fn remove(&self, concert: Uuid) -> Result<()> {
        let path = format!("/concerts/{concert}");
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
        let mut reply = self.delete(&path).await?;
        // The api removes a large concert in several transactions. Each attempt continues.
        for _ in 1..ATTEMPTS {
            if reply.status != 503 {
                break;
            }
            backoff.pause().await;
            reply = self.delete(&path).await?;
        }
        match reply.status {
            204 | 404 => Ok(()),
            409 => bail!("{path} was not removed, because it has sales and is not a test concert"),
            _ => Err(unexpected(&reply, 204)).with_context(|| path),
        }
    }

    async fn delete(&self, path: &str) -> Result<HttpResponse> {
        Ok(self.request(Method::DELETE, path).send().await?)
    }

    /// One ticket type per tier, because a concert has one tier of each type. Creates those that do not exist.
    async fn ticket_types(&self, count: usize) -> Result<Vec<i32>> {
        #[derive(Deserialize)]
        struct TicketType {
            id: i32,
            name: String,
        }
        let types: Vec<TicketType> = read(&self.client.get("/ticket-types").await?, 200)?;
        let mut ids = Vec::new();
        for number in 1..=count {
            let name = if number == 1 { LOAD_TEST.to_owned() } else { format!("{LOAD_TEST} {number}") };
            ids.push(match types.iter().find(|kind| kind.name == name) {
                Some(kind) => kind.id,
                None => self.write::<Created<i32>>("/ticket-types", json!({"name": name})).await?.id,
            });
        }
        Ok(ids)
    }

    async fn concert(&self, run: &str, seats: usize, kinds: &[i32]) -> Result<Uuid> {
        let concert: Created<Uuid> = self
            .write(
                "/concerts",
                json!({
                    "title": format!("{LOAD_TEST} {run}"), "artist": "Nobody", "date": "2099-12-31", "time": "19:00",
                    "venue": "Nowhere", "city": "Nowhere", "image": "https://example.com/nothing.jpg",
                    "test": true,
                }),
            )
            .await?;
        let tiers = kinds.len();
        for (tier, kind) in kinds.iter().enumerate() {
            let made: Created<i32> = self
                .write(
                    "/ticket-tiers",
                    json!({"concertId": concert.id, "ticketTypeId": kind, "price": format!("{}.00", 10 * (tier + 1))}),
                )
                .await?;
            // The first tiers get the seats that cannot be divided evenly.
            let seats = seats / tiers + usize::from(tier < seats % tiers);
            self.seats(concert.id, made.id, tier, seats).await?;
        }
        Ok(concert.id)
    }

    /// Creates full blocks, then a block of full rows, and then one row with the rest.
    async fn seats(&self, concert: Uuid, tier: i32, number: usize, seats: usize) -> Result<()> {
        let mut left = seats;
        while left > 0 {
            let rows = (left / SEATS_A_ROW).clamp(1, ROWS);
            let seats_a_row = left.min(SEATS_A_ROW);
            let block = json!({
                "ticketTierId": tier, "section": format!("T{number}"), "rows": rows, "seatsPerRow": seats_a_row,
                "prefix": format!("T{number}"),
            });
            let _: Value = self.write(&format!("/concerts/{concert}/seats"), block).await?;
            left -= rows * seats_a_row;
        }
        Ok(())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder<'_> {
        self.client.request(method, path).bearer_auth(self.token.expose_secret())
    }

    async fn write<T: DeserializeOwned>(&self, path: &str, body: Value) -> Result<T> {
        let reply = self.request(Method::POST, path).json(&body).send().await?;
        read_admin(&reply, 201, path)
    }
}

/// The body of the response to a request with the admin token.
fn read_admin<T: DeserializeOwned>(reply: &HttpResponse, expected: u16, path: &str) -> Result<T> {
    match reply.status {
        401 | 403 => bail!("{path} rejected the admin token: ADMIN_TOKEN must be the api's"),
        _ => read(reply, expected).with_context(|| path.to_owned()),
    }
}

fn read<T: DeserializeOwned>(reply: &HttpResponse, expected: u16) -> Result<T> {
    if reply.status != expected {
        return Err(unexpected(reply, expected));
    }
    Ok(reply.json()?)
}

fn unexpected(reply: &HttpResponse, expected: u16) -> anyhow::Error {
    let body: String = String::from_utf8_lossy(&reply.body).chars().take(300).collect();
    anyhow!("the status is {} instead of {expected}: {body}", reply.status)
}
