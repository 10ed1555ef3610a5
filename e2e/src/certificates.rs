//! Certificates for tests: a private authority, and what it issues.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

/// An authority that no machine trusts.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub pem: String,
}

/// A certificate and its key, as PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Result<Self> {
        let mut parameters = CertificateParams::new(Vec::<String>::new())?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters
            .distinguished_name
            .push(DnType::CommonName, format!("test authority {:x}", rand::random::<u64>()));
        let key = KeyPair::generate()?;
        let pem = parameters.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(parameters, key), pem })
    }

    /// A valid certificate for a host or a user.
    pub fn issue(&self, name: &str) -> Result<Issued> {
        self.sign(CertificateParams::new(vec![name.to_owned()])?, name)
    }

    /// One that was valid until 2020.
    pub fn issue_expired(&self, name: &str) -> Result<Issued> {
        let mut parameters = CertificateParams::new(vec![name.to_owned()])?;
        parameters.not_after = date_time_ymd(2020, 1, 1);
        self.sign(parameters, name)
    }

    fn sign(&self, mut parameters: CertificateParams, name: &str) -> Result<Issued> {
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { certificate, key: key.serialize_pem() })
    }
}

/// A directory for certificates, which every user can read, as the server of the tests may be another one. Dropping it
/// removes it.
pub struct Files(PathBuf);

impl Files {
    pub fn new() -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("hamro-tls-{:032x}", rand::random::<u128>()));
        fs::create_dir(&directory)?;
        Ok(Self(directory))
    }

    /// Writes a file, and returns its path.
    pub fn write(&self, name: &str, content: &str) -> Result<String> {
        let path = self.path(name);
        fs::write(&path, content)?;
        Ok(path)
    }

    /// Writes `NAME.pem` and `NAME.key`, and returns their paths.
    pub fn write_issued(&self, name: &str, issued: &Issued) -> Result<(String, String)> {
        let certificate = self.write(&format!("{name}.pem"), &issued.certificate)?;
        Ok((certificate, self.write(&format!("{name}.key"), &issued.key)?))
    }

    pub fn path(&self, name: &str) -> String {
        self.directory().join(name).display().to_string()
    }

    pub fn directory(&self) -> &Path {
        &self.0
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}
