//! The concerts of a run: created for it through the api, or existing ones.

use anyhow::{Context, Result, bail, ensure};
use hyper::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::{Client, HttpResponse, RequestBuilder};
use crate::journal::Concert;

/// The maximum size of a block of seats in the api.
const ROWS: usize = 200;
const SEATS_A_ROW: usize = 500;
/// The ticket type of all tiers that are created here.
const TICKET_TYPE: &str = "Load test";

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

#[derive(Deserialize)]
struct Made<T> {
    id: T,
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

pub async fn seat_map(client: &Client, concert: Uuid) -> Result<Vec<Seat>> {
    let reply = client.get(&format!("/seats/concert/{concert}")).await?;
    let map: SeatMap = read(&reply, 200).with_context(|| format!("reading the seat map of {concert}"))?;
    Ok(map.seats)
}

pub async fn tiers(client: &Client) -> Result<Vec<Tier>> {
    read(&client.get("/ticket-tiers/all").await?, 200).context("reading the tiers")
}

impl<'a> CatalogueSetup<'a> {
    pub fn new(client: &'a Client, token: &'a SecretString) -> Self {
        Self { client, token }
    }

    /// Creates concerts with seats.
    pub async fn make(&self, size: Size, run: &str) -> Result<SeatPool> {
        ensure!(size.seats_a_concert >= size.tiers, "a concert needs at least one seat per tier");
        let kind = self.ticket_type().await?;
        let mut concerts = Vec::new();
        let mut left = size.seats;
        while left > 0 {
            let seats = left.min(size.seats_a_concert);
            concerts.push(self.concert(run, seats, size.tiers.min(seats), kind).await?);
            left -= seats;
        }
        SeatPool::find(self.client, &concerts).await
    }

    /// Deletes the created concerts, and describes the result. The api keeps a concert with sales.
    pub async fn clean_up(&self, seat_pool: &SeatPool) -> String {
        let (mut kept, mut failed) = (0, Vec::new());
        for concert in &seat_pool.concerts {
            let path = format!("/concerts/{}", concert.id);
            match self.request(Method::DELETE, &path).send().await {
                Ok(HttpResponse { status: 204, .. }) => {}
                Ok(HttpResponse { status: 409, .. }) => kept += 1,
                Ok(reply) => failed.push(format!("{path} was not removed: the status was {}", reply.status)),
                Err(error) => failed.push(format!("{path} was not removed: {error}")),
            }
        }
        let made = seat_pool.concerts.len();
        if kept > 0 {
            failed.push(format!("{kept} of {made} concerts were kept, because they have sales"));
        }
        if failed.is_empty() { format!("{made} concerts removed") } else { failed.join("; ") }
    }

    async fn ticket_type(&self) -> Result<i32> {
        #[derive(Deserialize)]
        struct TicketType {
            id: i32,
            name: String,
        }
        let types: Vec<TicketType> = read(&self.client.get("/ticket-types").await?, 200)?;
        match types.iter().find(|kind| kind.name == TICKET_TYPE) {
            Some(kind) => Ok(kind.id),
            None => Ok(self.write::<Made<i32>>("/ticket-types", json!({"name": TICKET_TYPE})).await?.id),
        }
    }

    async fn concert(&self, run: &str, seats: usize, tiers: usize, kind: i32) -> Result<Uuid> {
        let concert: Made<Uuid> = self
            .write(
                "/concerts",
                json!({
                    "title": format!("Load test {run}"), "artist": "Nobody", "date": "2099-12-31", "time": "19:00",
                    "venue": "Nowhere", "city": "Nowhere", "image": "https://example.com/nothing.jpg",
                }),
            )
            .await?;
        for tier in 0..tiers {
            let made: Made<i32> = self
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
        match reply.status {
            401 | 403 => bail!("{path} rejected the admin token: ADMIN_TOKEN must be the api's"),
            _ => read(&reply, 201).with_context(|| format!("POST {path}")),
        }
    }
}

fn read<T: DeserializeOwned>(reply: &HttpResponse, expected: u16) -> Result<T> {
    if reply.status != expected {
        let body: String = String::from_utf8_lossy(&reply.body).chars().take(300).collect();
        bail!("the status is {} instead of {expected}: {body}", reply.status);
    }
    Ok(reply.json()?)
}
