//! Compresses the booking page's script and style sheet as far as possible, and names each by its content.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

const BUILT: &str = "src/booking_page/built";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={BUILT}");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    for (constant, file, extension) in [("SCRIPT", "page.js", "js"), ("STYLE", "style.css", "css")] {
        let content = fs::read(Path::new(BUILT).join(file))?;
        let mut hash = hex::encode(Sha256::digest(&content));
        hash.truncate(16);
        println!("cargo::rustc-env=BOOKING_PAGE_{constant}=page-{hash}.{extension}");
        fs::write(out.join(format!("{file}.gz")), gzip(&content)?)?;
        fs::write(out.join(format!("{file}.br")), brotli(&content)?)?;
        fs::write(out.join(file), content)?;
    }
    Ok(())
}

fn gzip(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    encoder.finish()
}

fn brotli(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let (quality, window) = (11, 22);
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, quality, window);
    encoder.write_all(content)?;
    Ok(encoder.into_inner())
}
