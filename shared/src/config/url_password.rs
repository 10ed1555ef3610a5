//! Completes a URL that has a user but no password. Platforms provide the password of a server, and not a URL, as a secret.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::connection_url::UrlError;

/// Inserts the password, which the variable `name` contains.
pub fn insert(url: &str, password: &str, name: &str) -> Result<String, UrlError> {
    // The parser of the URL says what is wrong with its scheme.
    let Some((scheme, rest)) = url.split_once("://") else { return Ok(url.to_owned()) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    let Some((user, address)) = authority.rsplit_once('@').filter(|(user, _)| !user.is_empty()) else {
        return Err(UrlError::new(format!(
            "{name} is set, but the URL names no user: write the user name and an @ before the host"
        )));
    };
    let user = user.strip_suffix(':').unwrap_or(user);
    if user.contains(':') || has_password_parameter(after) {
        return Err(UrlError::new(format!(
            "{name} is set, but the URL contains a password as well: remove one of them"
        )));
    }
    let password = utf8_percent_encode(password, NON_ALPHANUMERIC);
    Ok(format!("{scheme}://{user}:{password}@{address}{after}"))
}

fn has_password_parameter(after: &str) -> bool {
    let query = after.split_once('?').map(|(_, query)| query).unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "password")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_inserted_after_the_user() {
        for (url, password, complete) in [
            ("amqp://u@rabbit/%2f", "p", "amqp://u:p@rabbit/%2f"),
            ("amqp://u:@rabbit/%2f", "p", "amqp://u:p@rabbit/%2f"),
            ("amqps://u@one:5671,two/v?heartbeat=5", "p", "amqps://u:p@one:5671,two/v?heartbeat=5"),
            (
                "postgres://u%40h@[::1]:5433/d",
                "a/b@c:d#%",
                "postgres://u%40h:a%2Fb%40c%3Ad%23%25@[::1]:5433/d",
            ),
            ("postgres://u@/d?host=/run/pg", "p", "postgres://u:p@/d?host=/run/pg"),
            ("nonsense", "p", "nonsense"),
        ] {
            assert_eq!(insert(url, password, "PASSWORD").as_deref(), Ok(complete));
        }
    }

    #[test]
    fn a_url_with_a_password_or_without_a_user_is_refused() {
        for (url, problem) in [
            ("amqp://u:hunter2@rabbit", "contains a password as well: remove one of them"),
            ("postgres://u@db/d?password=hunter2", "contains a password as well: remove one of them"),
            ("amqp://rabbit", "names no user"),
            ("amqp://@rabbit", "names no user"),
        ] {
            let error = insert(url, "other", "AMQP_PASSWORD").unwrap_err().to_string();
            assert!(error.starts_with("AMQP_PASSWORD is set") && error.contains(problem), "{error}");
            assert!(!error.contains("hunter2") && !error.contains("other"), "{error}");
        }
    }
}
