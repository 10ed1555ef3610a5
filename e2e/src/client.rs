//! A client of the api. It uses none of the api's own types.

use std::time::Duration;

use anyhow::{Context, Result};
use hamro_verification::http::{self, HttpResponse, RequestBuilder};
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};

use crate::wait_until;

/// The admin token of the api instances under test.
pub const ADMIN_TOKEN: &str = "a-token-for-tests-only";

/// More connections than a test opens at once.
const CONNECTIONS_MAX: usize = 10_000;
/// Longer than the api holds any request.
const RESPONSE_TIMEOUT: Duration = Duration::from_mins(2);

#[derive(Clone)]
pub struct Client {
    http: http::Client,
    instance: String,
}

/// A response with its decoded body.
#[derive(Clone, Debug)]
pub struct ApiResponse {
    pub status: u16,
    pub headers: HeaderMap,
    /// Null if the body is not JSON.
    pub body: Value,
}

impl ApiResponse {
    /// The problem code, or an empty string if the response is not a problem.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The `Location` header, which is the path of the ticket.
    pub fn location(&self) -> Result<&str> {
        self.header("location").context("no Location header")
    }
}

impl From<HttpResponse> for ApiResponse {
    fn from(response: HttpResponse) -> Self {
        let body = response.json().unwrap_or_default();
        Self { status: response.status, headers: response.headers, body }
    }
}

/// The body of a booking request.
pub fn booking(customer: &str, seats: &[i64]) -> Value {
    json!({"userName": customer, "userEmail": format!("{customer}@example.com"), "seatIds": seats})
}

impl Client {
    /// `url` is the api's, such as `http://127.0.0.1:3000`.
    pub fn new(url: &str) -> Self {
        let http = http::Client::new(url.trim(), CONNECTIONS_MAX, RESPONSE_TIMEOUT).expect("an http URL");
        let instance = format!("{}/{:08x}", http.address(), rand::random::<u32>());
        Self { http, instance }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder<'_> {
        self.http.request(method, path)
    }

    /// The URL of this path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.http)
    }

    /// The host and port of the api.
    pub fn address(&self) -> &str {
        self.http.address()
    }

    /// Identifies the api process. An api that is restarted at the same address is another instance, and needs a new
    /// client.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    pub async fn send(request: RequestBuilder<'_>) -> Result<ApiResponse> {
        Ok(request.send().await?.into())
    }

    pub async fn get(&self, path: &str) -> Result<ApiResponse> {
        Self::send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<ApiResponse> {
        Self::send(self.request(Method::POST, path).json(body)).await
    }

    /// Sends a request with the admin token.
    pub async fn write(&self, method: Method, path: &str, body: &Value) -> Result<ApiResponse> {
        Self::send(self.request(method, path).bearer_auth(ADMIN_TOKEN).json(body)).await
    }

    pub async fn wait_until_ready(&self) -> Result<()> {
        wait_until("the api is ready", async || {
            let ready = matches!(self.get("/health/ready").await, Ok(ApiResponse { status: 200, .. }));
            Ok(ready.then_some(()))
        })
        .await
    }

    /// Books on the waiting endpoint.
    pub async fn book_seats(&self, customer: &str, seats: &[i64]) -> Result<ApiResponse> {
        self.post("/ticket-bookings/seats", &booking(customer, seats)).await
    }

    /// Books on the endpoint that responds with a ticket.
    pub async fn create_booking(&self, customer: &str, seats: &[i64]) -> Result<ApiResponse> {
        self.post("/ticket-bookings", &booking(customer, seats)).await
    }

    /// Waits for the final status of a ticket.
    pub async fn final_status(&self, location: &str) -> Result<Value> {
        wait_until(&format!("{location} is settled"), async || {
            let response = self.get(location).await?;
            anyhow::ensure!(response.status == 200, "{location}: {response:?}");
            Ok((response.body["status"] != "queued").then_some(response.body))
        })
        .await
    }

    /// The id and the seat map of the demo concert at this index of the list.
    pub async fn seat_map(&self, concert: usize) -> Result<(String, Value)> {
        let concerts = self.get("/concerts").await?;
        let id = concerts.body["data"][concert]["id"].as_str().context("no such concert")?.to_owned();
        let map = self.get(&format!("/seats/concert/{id}")).await?;
        Ok((id, map.body))
    }

    /// The ids of the seats of the demo concert at this index of the list, in order.
    pub async fn seat_ids(&self, concert: usize) -> Result<Vec<i64>> {
        let (_, map) = self.seat_map(concert).await?;
        let seats = map["seats"].as_array().context("no seats")?;
        seats.iter().map(|seat| seat["id"].as_i64().context("a seat without an id")).collect()
    }
}
