//! TLS to Postgres: the parameters `sslmode`, `sslrootcert`, `sslcert` and `sslkey` of `DATABASE_URL`.
//!
//! sqlx reads the files for each connection, so a replaced file takes effect without a restart.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sqlx::ConnectOptions;
use sqlx::Error;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::errors::unavailable;
use crate::config::connection_url::UrlError;
use crate::tls::files::{self, FileError};
use crate::tls::{Names, TlsProblem};

const NAMES: Names = Names {
    url: "DATABASE_URL",
    authority: "the parameter sslrootcert of DATABASE_URL",
    client: "the parameters sslcert and sslkey of DATABASE_URL",
};

/// The name that is documented, of the names that sqlx knows.
fn canonical(name: &str) -> Option<&'static str> {
    match name {
        "sslrootcert" | "ssl-root-cert" | "ssl-ca" => Some("sslrootcert"),
        "sslcert" | "ssl-cert" => Some("sslcert"),
        "sslkey" | "ssl-key" => Some("sslkey"),
        _ => None,
    }
}

/// Checks the file that a parameter names.
pub(super) fn check_file(name: &str, path: &str) -> Result<(), FileError> {
    match canonical(name) {
        None => Ok(()),
        Some(name @ "sslkey") => files::private_key(name, Path::new(path)).map(drop),
        Some(name) => files::certificates(name, Path::new(path)).map(drop),
    }
}

/// Verifies the server's certificate if its authority is given, as libpq does: sqlx ignores the authority with
/// `sslmode=require`.
pub(super) fn verifying(
    options: PgConnectOptions,
    parameters: &[(String, String)],
) -> Result<PgConnectOptions, UrlError> {
    let has = |wanted| parameters.iter().any(|(name, _)| canonical(name) == Some(wanted));
    if has("sslcert") != has("sslkey") {
        return Err(UrlError::new("sslcert and sslkey belong together: write both"));
    }
    if has("sslrootcert") && matches!(options.get_ssl_mode(), PgSslMode::Require) {
        return Ok(options.ssl_mode(PgSslMode::VerifyCa));
    }
    Ok(options)
}

/// What does not do what its author may expect.
pub(super) fn warnings(options: &PgConnectOptions) -> Vec<String> {
    let mut warnings = Vec::new();
    let has_authority = files_of(options).iter().any(|(name, _)| *name == "sslrootcert");
    match options.get_ssl_mode() {
        PgSslMode::Allow => {
            warnings.push(
                "sslmode=allow does not encrypt: use verify-full, or disable if no encryption is meant"
                    .into(),
            );
        }
        mode @ (PgSslMode::Disable | PgSslMode::Prefer) if has_authority => {
            let mode = if matches!(mode, PgSslMode::Disable) { "disable" } else { "prefer (the default)" };
            warnings.push(format!("sslrootcert has no effect with sslmode={mode}: use verify-full"));
        }
        _ => {}
    }
    warnings
}

/// The file with the private key.
pub(super) fn secret_files(options: &PgConnectOptions) -> Vec<(&'static str, PathBuf)> {
    files_of(options).into_iter().filter(|(name, _)| *name == "sslkey").collect()
}

/// The files that the options name. Only the URL of the options shows them, each as `file: PATH`.
fn files_of(options: &PgConnectOptions) -> Vec<(&'static str, PathBuf)> {
    let url = options.to_url_lossy();
    let parameters = url.query_pairs();
    let files = parameters.filter_map(|(name, value)| {
        let path = value.strip_prefix("file: ")?;
        Some((canonical(&name)?, path.into()))
    });
    files.collect()
}

/// Replaces an error by what an operator has to change, if it is about TLS.
pub(super) fn explained(error: Error, options: &PgConnectOptions) -> Error {
    if !may_be_about_tls(&error) {
        return error;
    }
    let mut files = files_of(options).into_iter();
    let broken = files.find_map(|(name, path)| check_file(name, path.to_str()?).err());
    if let Some(error) = broken {
        return unavailable(&error.to_string());
    }
    let problem = match &error {
        Error::Tls(text) if text.to_string().contains("does not support TLS") => Some(
            "the server offers no encryption: set ssl = on in its postgresql.conf, or sslmode=disable in DATABASE_URL to \
             do without it"
                .to_owned(),
        ),
        Error::Tls(error) => TlsProblem::of(error.as_ref(), &NAMES).map(|problem| problem.to_string()),
        error => TlsProblem::of(error, &NAMES).map(|problem| problem.to_string()),
    };
    problem.map_or(error, |problem| unavailable(&problem))
}

fn may_be_about_tls(error: &Error) -> bool {
    match error {
        Error::Tls(_) | Error::Configuration(_) => true,
        Error::Io(error) => {
            let is_lost = matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::TimedOut);
            !is_lost
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;

    #[test]
    fn an_authority_is_verified_or_a_warning_says_that_it_has_no_effect() {
        let authority = std::env::temp_dir().join(format!("hamro-ca-{:032x}", rand::random::<u128>()));
        std::fs::write(&authority, "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n").unwrap();
        for (mode, used, warning) in [
            ("verify-full", "VerifyFull", None),
            ("verify-ca", "VerifyCa", None),
            ("require", "VerifyCa", None),
            ("prefer", "Prefer", Some("sslrootcert has no effect with sslmode=prefer")),
            ("disable", "Disable", Some("sslrootcert has no effect with sslmode=disable")),
            ("allow", "Allow", Some("sslmode=allow does not encrypt")),
        ] {
            let url = format!("postgres://u:p@db/hamro?sslmode={mode}&sslrootcert={}", authority.display());
            let mut env = Env::of(&[("DATABASE_URL", &url)]);
            let warnings = env.warnings();
            let options: Option<PgConnectOptions> = env.variable("DATABASE_URL", "", "").secret().required();
            let options = options.unwrap();
            assert_eq!(format!("{:?}", options.get_ssl_mode()), used);
            assert_eq!(files_of(&options), [("sslrootcert", authority.clone())]);
            let warnings = warnings.take();
            assert_eq!(warnings.len(), usize::from(warning.is_some()), "{mode}: {warnings:?}");
            assert!(warnings.iter().all(|text| text.contains(warning.unwrap_or_default())), "{warnings:?}");
        }
        std::fs::remove_file(&authority).unwrap();
    }
}
