//! A booking server with one configurable defect, which the verification must detect. It keeps everything in memory and
//! settles at once.

mod defect;
mod page;
mod status;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Result;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use uuid::Uuid;

pub use defect::Defect;

/// The number of the booking with the defect.
const THE_TENTH: u64 = 10;

pub struct FaultyServer {
    defect: Defect,
    state: Mutex<ServerState>,
    /// The number of booking requests so far.
    requests: watch::Sender<u64>,
    /// The number of requests for the script of the booking page.
    page_loads: AtomicU64,
}

#[derive(Default)]
struct ServerState {
    seats: Vec<Seat>,
    tickets: HashMap<Uuid, Ticket>,
    /// The ticket and the seats of each idempotency key.
    keys: HashMap<String, (Uuid, Value)>,
    last_ticket: Uuid,
    tiers: i32,
    sales: i64,
}

struct Seat {
    id: i64,
    tier: i32,
    sale: Option<i64>,
    /// The run of the last buyer.
    run: String,
}

#[derive(Clone)]
struct Ticket {
    /// Number of the booking, from 1.
    number: u64,
    /// The booking, or a problem.
    booking: Result<Value, Value>,
    polls: u32,
    /// When the first instance first reported its final status.
    reported_at: Option<Instant>,
}

/// The instance that received a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    First,
    Second,
}

const CONCERT: &str = "00000000-0000-0000-0000-000000000001";

impl FaultyServer {
    /// Starts one instance and returns its URL.
    pub async fn start(defect: Defect) -> Result<String> {
        Self::new(defect).listen(Endpoint::First).await
    }

    /// Starts two instances and returns their URLs.
    pub async fn start_two(defect: Defect) -> Result<(String, String)> {
        let server = Self::new(defect);
        Ok((server.clone().listen(Endpoint::First).await?, server.listen(Endpoint::Second).await?))
    }

    fn new(defect: Defect) -> Arc<Self> {
        Arc::new(Self {
            defect,
            state: Mutex::default(),
            requests: watch::Sender::new(0),
            page_loads: AtomicU64::new(0),
        })
    }

    async fn listen(self: Arc<Self>, endpoint: Endpoint) -> Result<String> {
        let router = Router::new()
            .route(
                "/concerts",
                get(async || "[]").post(async || (StatusCode::CREATED, Json(json!({"id": CONCERT})))),
            )
            .route("/concerts/{id}", get(async || "{}").delete(async || StatusCode::CONFLICT))
            .route(
                "/ticket-types",
                get(async || "[]").post(async || (StatusCode::CREATED, Json(json!({"id": 1})))),
            )
            .route("/ticket-tiers", post(create_tier))
            .route("/ticket-tiers/all", get(tiers))
            .route("/concerts/{id}/seats", post(create_seats))
            .route("/seats/concert/{id}", get(seat_map))
            .route("/ticket-bookings", post(book))
            .route("/ticket-bookings/{ticket}", get(status::status))
            .route("/ticket-bookings/{ticket}/events", get(status::events))
            .merge(page::routes(self.defect))
            .layer(Extension(endpoint))
            .with_state(self);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(url)
    }

    fn state(&self) -> MutexGuard<'_, ServerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_defect(&self, number: u64, defect: Defect) -> bool {
        self.defect == defect && number == THE_TENTH
    }
}

async fn create_tier(State(server): State<Arc<FaultyServer>>) -> impl IntoResponse {
    let mut state = server.state();
    state.tiers += 1;
    (StatusCode::CREATED, Json(json!({"id": state.tiers})))
}

async fn create_seats(
    State(server): State<Arc<FaultyServer>>,
    Json(block): Json<Value>,
) -> impl IntoResponse {
    let mut state = server.state();
    let tier = i32::try_from(block["ticketTierId"].as_i64().unwrap_or_default()).unwrap_or_default();
    let created =
        block["rows"].as_i64().unwrap_or_default() * block["seatsPerRow"].as_i64().unwrap_or_default();
    for _ in 0..created {
        let id = i64::try_from(state.seats.len()).unwrap_or_default() + 1;
        state.seats.push(Seat { id, tier, sale: None, run: String::new() });
    }
    (StatusCode::CREATED, Json(json!({"created": created})))
}

async fn seat_map(State(server): State<Arc<FaultyServer>>) -> Json<Value> {
    let state = server.state();
    let mut shown: Vec<(&Seat, bool)> = state.seats.iter().map(|seat| (seat, seat.sale.is_some())).collect();
    // No invented sale while the run is prepared.
    let has_begun = !state.tickets.is_empty();
    let wrong = match server.defect {
        Defect::HidesASale => shown.iter_mut().find(|(_, is_booked)| *is_booked),
        Defect::InventsASale if has_begun => shown.iter_mut().find(|(_, is_booked)| !*is_booked),
        _ => None,
    };
    if let Some((_, is_booked)) = wrong {
        *is_booked = !*is_booked;
    }
    let seats: Vec<Value> = shown
        .iter()
        .map(|(seat, is_booked)| json!({"id": seat.id, "ticketTierId": seat.tier, "isBooked": is_booked}))
        .collect();
    Json(json!({"seats": seats}))
}

async fn tiers(State(server): State<Arc<FaultyServer>>) -> Json<Value> {
    let state = server.state();
    let tier = |id: i32| {
        let of_tier = || state.seats.iter().filter(|seat| seat.tier == id);
        let mut available = of_tier().filter(|seat| seat.sale.is_none()).count();
        if server.defect == Defect::Miscounts && id == 1 {
            available += 1;
        }
        json!({"id": id, "concertId": CONCERT, "total": of_tier().count(), "available": available})
    };
    Json((1..=state.tiers).map(tier).collect())
}

async fn book(
    State(server): State<Arc<FaultyServer>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let mut number = 0;
    server.requests.send_modify(|requests| {
        *requests += 1;
        number = *requests;
    });
    match server.defect {
        Defect::StallsUntil(requests) if number >= THE_TENTH => {
            let _ = server.requests.subscribe().wait_for(|arrived| *arrived >= requests).await;
        }
        Defect::FallsSilent if number >= THE_TENTH => std::future::pending().await,
        _ => {}
    }
    let key = headers.get("idempotency-key").map(|key| String::from_utf8_lossy(key.as_bytes()).into_owned());
    if server.refuses_at_once(number, key.as_deref()) {
        return (StatusCode::CONFLICT, Json(server.taken(&body["seatIds"]))).into_response();
    }
    let ticket = server.settle(number, key, &body);
    let document = json!({"ticketId": ticket, "status": "queued"});
    (StatusCode::ACCEPTED, [("location", format!("/ticket-bookings/{ticket}"))], Json(document))
        .into_response()
}

impl FaultyServer {
    /// Whether the booking is refused without a ticket.
    fn refuses_at_once(&self, number: u64, key: Option<&str>) -> bool {
        let is_retry = key.is_some_and(|key| self.state().keys.contains_key(key));
        self.has_defect(number, Defect::RefusesOnAcceptance)
            || is_retry && self.defect == Defect::RefusesItsOwnKey
    }

    /// The problem of a booking of these seats, which are taken.
    fn taken(&self, seats: &Value) -> Value {
        match self.defect {
            Defect::NamesNoSeat => json!({"code": "seats-taken"}),
            Defect::NamesAnotherSeat => json!({"code": "seats-taken", "seatIds": [0]}),
            _ => json!({"code": "seats-taken", "seatIds": seats}),
        }
    }

    fn settle(&self, number: u64, key: Option<String>, body: &Value) -> Uuid {
        let mut state = self.state();
        let id = if self.has_defect(number, Defect::HandsOutATicketTwice) {
            state.last_ticket
        } else {
            Uuid::from_u128(u128::from(number))
        };
        state.last_ticket = id;
        let first = key.as_ref().and_then(|key| state.keys.get(key)).cloned();
        let booking = match first.filter(|_| self.defect != Defect::ForgetsKeys) {
            Some((first, seats)) if seats == body["seatIds"] => state.tickets[&first].booking.clone(),
            Some(_) => Err(json!({"code": "idempotency-key-reused"})),
            None => self.sell(&mut state, number, body).ok_or_else(|| self.taken(&body["seatIds"])),
        };
        if let Some(key) = key {
            state.keys.entry(key).or_insert((id, body["seatIds"].clone()));
        }
        state.tickets.insert(id, Ticket { number, booking, polls: 0, reported_at: None });
        id
    }

    fn sell(&self, state: &mut ServerState, number: u64, body: &Value) -> Option<Value> {
        let requested: Vec<i64> = body["seatIds"].as_array()?.iter().filter_map(Value::as_i64).collect();
        // The e-mail addresses of a run end in its name.
        let run = body["userEmail"].as_str()?.split_once('.')?.1;
        let is_free = |state: &ServerState, seat: &i64| {
            let seat = &state.seats[usize::try_from(*seat - 1).unwrap_or_default()];
            seat.sale.is_none() || (self.defect == Defect::SellsToEachRun && seat.run != run)
        };
        let are_free = requested.iter().all(|seat| is_free(state, seat));
        let may_sell_twice =
            self.has_defect(number, Defect::SellsASeatTwice) || self.defect == Defect::ForgetsKeys;
        if (!are_free && !may_sell_twice) || self.has_defect(number, Defect::RefusesAFreeSeat) {
            return None;
        }
        state.sales += 1;
        for seat in &requested {
            let sale = state.sales;
            let seat = &mut state.seats[usize::try_from(*seat - 1).unwrap_or_default()];
            (seat.sale, seat.run) = (Some(sale), run.to_owned());
        }
        let given: Vec<i64> = if self.has_defect(number, Defect::GivesAnotherSeat) {
            vec![requested[0] + 1]
        } else {
            requested
        };
        Some(json!({"id": state.sales, "userEmail": body["userEmail"], "seatIds": given}))
    }
}
