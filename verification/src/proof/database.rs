//! Compares what clients know with the database.

use std::pin::pin;

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use uuid::Uuid;

use super::bookings::BookingCheck;
use super::context::{Buyers, CheckContext, RunFacts};
use super::refusals::{StoredRefusal, compare_with_sales};
use super::sales::SaleCheck;
use super::{Proof, stored};
use crate::consistency::{Scope, broken_rules};
use crate::contract::email_pattern;
use crate::database_clock::ClockBounds;
use crate::invariant::{Invariant, Violations};
use crate::journal::Header;
use crate::request_log::RequestLog;
use crate::run_log::RunLog;

/// Rows that are compared at a time.
const CHUNK: usize = 10_000;

/// The inputs of the comparison.
pub(super) struct Comparison<'a> {
    pub run_log: &'a RunLog,
    pub header: &'a Header,
    pub buyers: &'a Buyers,
    pub facts: &'a RunFacts,
}

/// Adds differences to the proof. If the database cannot be read, the proof fails.
pub(super) async fn compare(proof: &mut Proof, comparison: &Comparison<'_>, options: &PgConnectOptions) {
    proof.by_sql = true;
    proof.remarks.extend(clock_remark(&comparison.run_log.request_log()));
    if let Err(error) = compare_all(&mut proof.violations, comparison, options).await {
        let what = format!("the database cannot be read: {error:#}");
        proof.violations.add(Invariant::DatabaseAgrees, what);
    }
}

/// How exactly refusals were compared with sales, if there are refusals.
fn clock_remark(request_log: &RequestLog) -> Option<String> {
    request_log.refusals().next()?;
    Some(match ClockBounds::of(&request_log.clock_readings) {
        Some(clock) => {
            let error = clock.width();
            format!(
                "times of refusals and sales were compared with an error of {error} us, plus that of the servers' clocks"
            )
        }
        None => {
            "the database's clock was not read during the run: times of refusals were not checked".to_owned()
        }
    })
}

async fn compare_all(
    violations: &mut Violations,
    comparison: &Comparison<'_>,
    options: &PgConnectOptions,
) -> Result<()> {
    let mut connection = options.connect().await.context("connecting to DATABASE_URL")?;
    let concerts: Vec<Uuid> = comparison.header.concerts.iter().map(|concert| concert.id).collect();
    let customers = Some(email_pattern(&comparison.header.name)).filter(|_| !comparison.facts.is_only_user);
    let scope = Scope { concerts: customers.as_ref().map(|_| concerts.clone()), customers };
    for broken in broken_rules(&mut connection, &scope).await? {
        violations.add(Invariant::DatabaseIsConsistent, broken);
    }
    let refusals = comparison.bookings(&mut connection, scope.customers.as_deref(), violations).await?;
    comparison.sales(&mut connection, &concerts, &refusals, violations).await
}

impl Comparison<'_> {
    /// Calls `check` with the requests. They are locked only during the call.
    fn check<T>(&self, check: impl FnOnce(CheckContext<'_>) -> T) -> T {
        let Self { run_log, header, buyers, facts } = *self;
        check(CheckContext { request_log: &run_log.request_log(), buyers, header, facts })
    }

    async fn bookings(
        &self,
        connection: &mut PgConnection,
        customers: Option<&str>,
        violations: &mut Violations,
    ) -> Result<Vec<StoredRefusal>> {
        let mut check = BookingCheck::default();
        let mut chunks = pin!(stored::bookings(connection, customers).try_chunks(CHUNK));
        while let Some(rows) = chunks.try_next().await.map_err(|error| error.1)? {
            self.check(|context| rows.iter().for_each(|row| check.add(context, row, violations)));
        }
        Ok(self.check(|context| check.finish(context, violations)))
    }

    async fn sales(
        &self,
        connection: &mut PgConnection,
        concerts: &[Uuid],
        refusals: &[StoredRefusal],
        violations: &mut Violations,
    ) -> Result<()> {
        let mut check = self.check(|context| SaleCheck::new(context, refusals));
        let mut chunks = pin!(stored::sales(connection, concerts).try_chunks(CHUNK));
        while let Some(sales) = chunks.try_next().await.map_err(|error| error.1)? {
            self.check(|context| sales.iter().for_each(|sale| check.add(context, sale, violations)));
        }
        self.check(|context| {
            let of_refused = check.finish(context, violations);
            compare_with_sales(context, refusals, &of_refused, violations);
        });
        Ok(())
    }
}
