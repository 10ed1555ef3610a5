//! Settings from the environment.

use anyhow::Result;
use hamro_shared::config::Env;
use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;

pub struct Settings {
    pub admin_token: Option<SecretString>,
    pub database: Option<PgConnectOptions>,
}

impl Settings {
    pub fn read(mut env: Env) -> Result<Self> {
        let token = env
            .variable("ADMIN_TOKEN", "Creates and deletes concerts.", "the api's admin token")
            .secret()
            .optional();
        let database = env
            .variable(
                "DATABASE_URL",
                "The api's database, to verify it too.",
                "postgres://user:password@host:5432/database",
            )
            .secret()
            .with_password("DATABASE_PASSWORD")
            .optional();
        let built = token.zip(database).map(|(admin_token, database)| Self { admin_token, database });
        Ok(env.finish(built)?)
    }
}
