//! A database clock that a test can set.

use anyhow::Result;
use sqlx::AssertSqlSafe;

use crate::Deployment;

impl Deployment {
    /// Makes the clock of this database settable for sessions that are opened from here on. The programs call
    /// `clock_timestamp()`; the search path replaces it by a function whose time can be shifted.
    pub async fn make_database_clock_settable(&self) -> Result<()> {
        let search_path = format!("ALTER DATABASE {} SET search_path = public, pg_catalog", self.name());
        for statement in [
            "CREATE TABLE jump (by interval NOT NULL); INSERT INTO jump VALUES ('0 s');
             CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
             AS 'SELECT pg_catalog.clock_timestamp() + by FROM public.jump'",
            &search_path,
        ] {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&self.pool).await?;
        }
        Ok(())
    }

    /// Sets the clock ahead of the real time by `by`, an interval of Postgres such as `5 minutes`.
    pub async fn set_database_clock(&self, by: &str) -> Result<()> {
        sqlx::query("UPDATE jump SET by = $1::text::interval").bind(by).execute(&self.pool).await?;
        Ok(())
    }
}
