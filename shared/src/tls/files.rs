//! Files of certificates and keys, in PEM form. They are read for each connection, so a replaced file takes effect without
//! a restart.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why a file cannot be used, and what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct FileError {
    /// The parameter of the URL that names the file.
    pub name: &'static str,
    problem: String,
}

/// The certificates in a file. There is at least one.
pub fn certificates(name: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let pem = read(name, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let problem = match certificates {
        Ok(certificates) if !certificates.is_empty() => return Ok(certificates),
        Ok(_) if contains(&pem, b"PRIVATE KEY-----") => {
            "contains a key and no certificate: name the certificate"
        }
        Ok(_) => "contains no certificate: it should have lines like -----BEGIN CERTIFICATE-----",
        Err(_) => "contains a damaged certificate: copy it again, in PEM form",
    };
    Err(FileError { name, problem: format!("{} {problem}", path.display()) })
}

/// The private key in a file.
pub fn private_key(name: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let pem = read(name, path)?;
    let problem = match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(key) => return Ok(key),
        Err(_) if contains(&pem, b"ENCRYPTED") => {
            "contains an encrypted key: decrypt it (openssl pkey -in KEY -out NEW_KEY)"
        }
        Err(PemError::NoItemsFound) => {
            "contains no private key: it should have a line like -----BEGIN PRIVATE KEY-----"
        }
        Err(_) => "contains a damaged private key: copy it again, in PEM form",
    };
    Err(FileError { name, problem: format!("{} {problem}", path.display()) })
}

fn read(name: &'static str, path: &Path) -> Result<Vec<u8>, FileError> {
    if path.to_string_lossy().contains("-----BEGIN") {
        // Not repeated: it may be a key.
        let problem = "it should be the path of a file, not its content".to_owned();
        return Err(FileError { name, problem });
    }
    let problem = match fs::read(path).map_err(|error| error.kind()) {
        Ok(content) if content.trim_ascii().is_empty() => format!("{} is empty", path.display()),
        Ok(content) => return Ok(content),
        Err(ErrorKind::NotFound) => {
            format!("{} does not exist: create it, or correct the path", path.display())
        }
        Err(ErrorKind::PermissionDenied) => {
            format!("this process may not read {}: make its user the owner", path.display())
        }
        Err(ErrorKind::IsADirectory) => format!("{} is a directory: name a file in it", path.display()),
        Err(kind) => format!("{} cannot be read: {kind}", path.display()),
    };
    Err(FileError { name, problem })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";

    #[test]
    fn a_file_without_a_usable_certificate_or_key_is_named_with_what_to_change() {
        let file = std::env::temp_dir().join(format!("hamro-pem-{:032x}", rand::random::<u128>()));
        for (content, of_certificates, of_key) in [
            ("", Some("is empty"), Some("is empty")),
            ("hunter2", Some("contains no certificate"), Some("contains no private key")),
            (KEY, Some("contains a key and no certificate"), None),
            (CERTIFICATE, None, Some("contains no private key")),
            (&CERTIFICATE.replace("AA==", "?"), Some("a damaged certificate"), Some("private key")),
            (&KEY.replace("PRIVATE", "ENCRYPTED PRIVATE"), Some("no certificate"), Some("an encrypted key")),
        ] {
            fs::write(&file, content).unwrap();
            for (error, problem) in [
                (certificates("cacertfile", &file).err(), of_certificates),
                (private_key("cacertfile", &file).err(), of_key),
            ] {
                let error = error.map(|error| error.to_string());
                assert_eq!(error.is_some(), problem.is_some(), "{content:?}: {error:?}");
                let (error, problem) = (error.unwrap_or_default(), problem.unwrap_or_default());
                assert!(error.contains(problem) && !error.contains("hunter2"), "{content:?}: {error}");
            }
        }
        fs::remove_file(&file).unwrap();
        let error = certificates("cacertfile", &file).unwrap_err().to_string();
        assert!(error.starts_with("cacertfile: ") && error.contains("does not exist: create it"), "{error}");
        let error = private_key("keyfile", Path::new(KEY)).unwrap_err().to_string();
        assert_eq!(error, "keyfile: it should be the path of a file, not its content");
        let error = certificates("cacertfile", Path::new("/tmp")).unwrap_err().to_string();
        assert_eq!(error, "cacertfile: /tmp is a directory: name a file in it");
    }
}
