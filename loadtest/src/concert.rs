//! The concerts that a run books seats of: made for it through the admin API, or there already.

use anyhow::{Context, Result, bail, ensure};
use hyper::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::{Client, Reply};
use crate::journal::Concert;

/// The most that the api takes in one block of seats.
const ROWS: usize = 200;
const SEATS_A_ROW: usize = 500;
/// The kind of ticket that all of ours are.
const TICKET_TYPE: &str = "Load test";

/// What there is to be booked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hall {
    pub concerts: Vec<Concert>,
    /// The ids of all seats that are free.
    pub seats: Vec<i32>,
}

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub seats: usize,
    /// Beyond so many a further concert is made: the seat map of a concert is one answer.
    pub seats_a_concert: usize,
    /// Price tiers of a concert.
    pub tiers: usize,
}

/// Who may write to the catalogue.
pub struct Organiser<'a> {
    client: &'a Client,
    token: &'a SecretString,
}

/// The whole seat map, of which only this is of interest.
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

impl Hall {
    /// The free seats of concerts that are there already.
    pub async fn find(client: &Client, concerts: &[Uuid]) -> Result<Self> {
        let mut hall = Self::default();
        for &id in concerts {
            let seats = seat_map(client, id).await?;
            let (sold, free): (Vec<Seat>, Vec<Seat>) = seats.into_iter().partition(|seat| seat.is_booked);
            let sold_before: Vec<i32> = sold.iter().map(|seat| seat.id).collect();
            hall.concerts.push(Concert { id, seats: sold.len() + free.len(), sold_before });
            hall.seats.extend(free.iter().map(|seat| seat.id));
        }
        Ok(hall)
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

impl<'a> Organiser<'a> {
    pub fn new(client: &'a Client, token: &'a SecretString) -> Self {
        Self { client, token }
    }

    /// Makes concerts with so many seats.
    pub async fn make(&self, size: Size, run: &str) -> Result<Hall> {
        ensure!(size.seats_a_concert >= size.tiers, "a concert needs a seat for each of its tiers");
        let kind = self.ticket_type().await?;
        let mut concerts = Vec::new();
        let mut left = size.seats;
        while left > 0 {
            let seats = left.min(size.seats_a_concert);
            concerts.push(self.concert(run, seats, size.tiers.min(seats), kind).await?);
            left -= seats;
        }
        Hall::find(self.client, &concerts).await
    }

    /// Removes what was made, and says what is left: the api keeps a concert of which a seat was sold.
    pub async fn clean_up(&self, hall: &Hall) -> String {
        let (mut kept, mut failed) = (0, Vec::new());
        for concert in &hall.concerts {
            let path = format!("/concerts/{}", concert.id);
            match self.client.write(Method::DELETE, &path, Vec::new(), self.token.expose_secret()).await {
                Ok(Reply { status: 204, .. }) => {}
                Ok(Reply { status: 409, .. }) => kept += 1,
                Ok(reply) => failed.push(format!("{path} is left: the answer was {}", reply.status)),
                Err(error) => failed.push(format!("{path} is left: {error}")),
            }
        }
        let made = hall.concerts.len();
        if kept > 0 {
            failed.push(format!(
                "{kept} of {made} concerts are left: what has been sold is kept, with its bookings"
            ));
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
            // The seats that do not go up evenly are in the first tiers.
            let seats = seats / tiers + usize::from(tier < seats % tiers);
            self.seats(concert.id, made.id, tier, seats).await?;
        }
        Ok(concert.id)
    }

    /// Full blocks first, then a block of full rows, then the rest in a row.
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

    async fn write<T: DeserializeOwned>(&self, path: &str, body: Value) -> Result<T> {
        let body = serde_json::to_vec(&body)?;
        let reply = self.client.write(Method::POST, path, body, self.token.expose_secret()).await?;
        match reply.status {
            401 | 403 => bail!("{path} refuses the admin token: ADMIN_TOKEN should be that of the api"),
            _ => read(&reply, 201).with_context(|| format!("POST {path}")),
        }
    }
}

fn read<T: DeserializeOwned>(reply: &Reply, expected: u16) -> Result<T> {
    if reply.status != expected {
        let body: String = String::from_utf8_lossy(&reply.body).chars().take(300).collect();
        bail!("the answer is {} instead of {expected}: {body}", reply.status);
    }
    Ok(serde_json::from_slice(&reply.body)?)
}
