//! Says why a TLS connection failed, and what an operator has to change.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

/// A reason that lasts until an operator acts, on this side or on the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}: {remedy}")]
pub struct TlsProblem {
    /// For anyone who may see the state of a process: no address and no path.
    pub cause: &'static str,
    /// For operators.
    pub remedy: String,
}

/// What the settings of one kind of server are called.
pub struct Names {
    pub url: &'static str,
    /// The parameter for the certificate of the authority.
    pub authority: &'static str,
    /// The parameters for the certificate and the key of this process.
    pub client: &'static str,
}

impl TlsProblem {
    /// `None` if the error is something else, such as a lost connection.
    pub fn of(error: &(dyn Error + 'static), names: &Names) -> Option<Self> {
        find(error).map(|error| Self::of_tls(error, names))
    }

    fn of_tls(error: &TlsError, names: &Names) -> Self {
        let Names { url, client, .. } = names;
        let (cause, remedy) = match error {
            TlsError::InvalidCertificate(reason) => return Self::of_certificate(reason, names),
            TlsError::AlertReceived(AlertDescription::CertificateRequired) => (
                "the server requires a certificate of this process",
                format!("name one that the server trusts, and its key, in {client}"),
            ),
            TlsError::AlertReceived(
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::DecryptError
                | AlertDescription::AccessDenied,
            ) => (
                "the server refuses the certificate of this process",
                format!("name a valid one that the server trusts, and its key, in {client} ({error})"),
            ),
            TlsError::AlertReceived(AlertDescription::ProtocolVersion) | TlsError::PeerIncompatible(_) => (
                "the server supports no version or cipher of TLS that this process accepts",
                format!("enable TLS 1.2 or 1.3 on the server ({error})"),
            ),
            TlsError::AlertReceived(AlertDescription::HandshakeFailure) => (
                "the server refuses the TLS handshake",
                format!(
                    "its log says why; it may require a certificate of this process ({client}), or ciphers that are no \
                     longer considered secure"
                ),
            ),
            TlsError::InvalidMessage(_) => (
                "the server does not speak TLS on this port",
                format!("correct the port in {url}, or enable TLS on the server"),
            ),
            TlsError::InconsistentKeys(_) => (
                "the certificate and the key of this process do not belong together",
                format!("correct {client}"),
            ),
            _ => ("the TLS connection failed", error.to_string()),
        };
        Self { cause, remedy }
    }

    fn of_certificate(reason: &CertificateError, Names { url, authority, .. }: &Names) -> Self {
        let (cause, remedy) = match reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
                "the server's certificate has expired",
                format!("renew it on the server, unless the clock of this machine is wrong ({reason})"),
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
                "the server's certificate is not valid yet",
                format!("correct the clock of this machine, or the certificate ({reason})"),
            ),
            CertificateError::UnknownIssuer => (
                "the server's certificate is not signed by an authority that this process trusts",
                format!("name the file with the certificate of its authority in {authority}"),
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
                "the server's certificate is for another host",
                format!(
                    "write a name in {url} that the certificate contains, or issue one for this host ({reason})"
                ),
            ),
            _ => ("the server's certificate is refused", format!("issue another one ({reason})")),
        };
        Self { cause, remedy }
    }
}

/// The error of the TLS library, which travels inside I/O errors.
fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    if let Some(error) = error.downcast_ref() {
        return Some(error);
    }
    // `source()` of an I/O error skips what it contains.
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match inner {
        Some(inner) => find(inner),
        None => error.source().and_then(find),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names = Names { url: "AMQP_URL", authority: "cacertfile", client: "certfile and keyfile" };

    #[test]
    fn an_error_of_tls_is_found_inside_other_errors_and_explained() {
        for (error, cause, remedy) in [
            (
                TlsError::InvalidCertificate(CertificateError::Expired),
                "the server's certificate has expired",
                "renew it",
            ),
            (
                TlsError::InvalidCertificate(CertificateError::UnknownIssuer),
                "the server's certificate is not signed by an authority that this process trusts",
                "cacertfile",
            ),
            (
                TlsError::InvalidCertificate(CertificateError::NotValidForName),
                "the server's certificate is for another host",
                "AMQP_URL",
            ),
            (
                TlsError::AlertReceived(AlertDescription::CertificateRequired),
                "the server requires a certificate of this process",
                "certfile and keyfile",
            ),
            (
                TlsError::AlertReceived(AlertDescription::ProtocolVersion),
                "the server supports no version or cipher of TLS that this process accepts",
                "TLS 1.2",
            ),
            (TlsError::DecryptError, "the TLS connection failed", "cannot decrypt"),
        ] {
            let error = lapin::Error::from(io::Error::other(io::Error::other(error)));
            let problem = TlsProblem::of(&error, &NAMES).unwrap();
            assert_eq!(problem.cause, cause);
            assert!(problem.remedy.contains(remedy), "{problem}");
        }
        assert_eq!(TlsProblem::of(&io::Error::other("connection reset"), &NAMES), None);
    }
}
