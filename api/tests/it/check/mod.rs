//! `hamro-api check`, against a real Postgres. This file has what its tests share.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod data;
mod legal_states;
mod objects;
mod repairs;
mod restores;

use hamro_api::check::{Survey, survey};
use hamro_shared::database::{MIGRATOR, seed};
use sqlx::{AssertSqlSafe, PgPool};

async fn seeded(pool: &PgPool) {
    seed(&mut pool.acquire().await.unwrap()).await.unwrap();
}

async fn execute(pool: &PgPool, statements: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(statements.into())).execute(pool).await.unwrap();
}

async fn surveyed(pool: &PgPool) -> Survey {
    survey(&mut pool.acquire().await.unwrap()).await.unwrap()
}

async fn repaired(pool: &PgPool) -> Vec<String> {
    let survey = surveyed(pool).await;
    hamro_api::check::repair(&mut pool.acquire().await.unwrap(), &survey).await.unwrap()
}

/// The names of the rules that are broken, in order.
fn rules(survey: &Survey) -> Vec<&'static str> {
    let mut rules: Vec<_> = survey.problems.iter().map(|problem| problem.rule).collect();
    rules.sort_unstable();
    rules
}

/// What was found of a rule.
fn found<'a>(survey: &'a Survey, rule: &str) -> &'a str {
    &survey.problems.iter().find(|problem| problem.rule == rule).unwrap().found
}

/// Statements that sell these seats in one sale, as a worker does. Its ticket was issued this year.
fn sale(seats: &[i32]) -> String {
    format!(
        "WITH sold AS (
             INSERT INTO sales (ticket_id, user_name, user_email, created_at)
             VALUES (overlay(gen_random_uuid()::text PLACING '0190' FROM 1 FOR 4)::uuid, 'alice', 'alice@example.com', now())
             RETURNING *
         ), booked AS (
             INSERT INTO bookings (ticket_id, status, settled_at, request_hash, sale_id)
             SELECT ticket_id, 'confirmed', now(), ''::bytea, id FROM sold
         ), marked AS (
             UPDATE seats SET booked_at = now() WHERE id = ANY('{{{seats}}}') AND booked_at IS NULL RETURNING ticket_tier_id
         ), counted AS (
             UPDATE ticket_tiers SET available = available - count
             FROM (SELECT ticket_tier_id, count(*) FROM marked GROUP BY 1) marked WHERE id = ticket_tier_id
         )
         INSERT INTO sale_seats (sale_id, position, seat_id, price)
         SELECT sold.id, place, seat.id, 1 FROM sold, unnest('{{{seats}}}'::integer[]) WITH ORDINALITY AS seat (id, place);",
        seats = seats.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
    )
}

/// Statements that release the seats of the latest sale, as the api does.
fn release() -> String {
    "WITH released AS (
         UPDATE sale_seats SET released_at = now()
         WHERE sale_id = (SELECT max(id) FROM sales) AND released_at IS NULL RETURNING sale_id, seat_id
     ), freed AS (
         UPDATE seats SET booked_at = NULL, free_from = now() + interval '3 seconds'
         FROM released WHERE id = seat_id RETURNING ticket_tier_id
     ), recorded AS (
         INSERT INTO releases (sale_id, ticket_id, seat_ids, reason, released_by, released_at)
         SELECT sale_id, gen_random_uuid(), array_agg(seat_id), 'test', 'alice', now() FROM released GROUP BY sale_id
     )
     UPDATE ticket_tiers SET available = available + count
     FROM (SELECT ticket_tier_id, count(*) FROM freed GROUP BY 1) freed WHERE id = ticket_tier_id;"
        .to_owned()
}
