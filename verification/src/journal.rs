//! A file, outside the system under test, with every request and response. The verification does not depend on this
//! process and can be repeated later.
//!
//! ```text
//! {"run":{"version":3,"name":"k3f9","scenario":"rush", …}}
//! {"request":{"buyer":17,"seats":[4,5],"due":812345,"took":2411,"response":{"accepted":{"ticket":"…"}}}}
//! {"request":{"buyer":18,"seats":[5],"due":812400,"took":980,"response":{"refused":{"status":409,"code":"seats-taken","taken":[5]}}}}
//! {"final":{"ticket":"…","outcome":{"status":"confirmed","sale":{…},"settled_at":…},"sent":815000,"took":9000}}
//! {"unsettled":{"ticket":"…","status":"queued","instance":1,"sent":824100,"took":700}}
//! {"clock":{"sent":830000,"took":400,"database":1764113662341000}}
//! {"end":{"interrupted":false}}
//! ```
//!
//! Status reads that cannot violate a rule are omitted: a final status that the same instance has reported before, and
//! `queued` in response to a request that was sent before any client knew a final status.
//!
//! A separate thread writes the lines, so a slow disk costs memory but never delays an arrival.

mod entry;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail, ensure};

pub use entry::{ClockReading, Concert, Entry, Header, RequestRecord};
use entry::{OLDEST_VERSION, VERSION};

/// The size of the chunks that the writer thread receives. Once a second it also receives an incomplete chunk.
const CHUNK_BYTES: usize = 64 * 1024;

pub struct Journal {
    pub path: PathBuf,
    buffer: Mutex<Vec<u8>>,
    chunks: Mutex<Option<Sender<Vec<u8>>>>,
    writing: Mutex<Option<JoinHandle<Result<()>>>>,
}

impl Journal {
    pub fn create(path: &Path) -> Result<Self> {
        let at = || format!("writing the journal {}", path.display());
        // It contains ticket ids, each of which opens a booking.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(at)?;
        let (sender, chunks) = channel();
        let what = at();
        let writing = std::thread::spawn(move || write(file, chunks).context(what));
        Ok(Self {
            path: path.to_owned(),
            buffer: Mutex::default(),
            chunks: Mutex::new(Some(sender)),
            writing: Mutex::new(Some(writing)),
        })
    }

    pub fn record(&self, entry: &Entry) {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        serde_json::to_writer(&mut *buffer, entry).expect("text keys only");
        buffer.push(b'\n');
        if buffer.len() >= CHUNK_BYTES {
            self.hand_over(std::mem::take(&mut buffer));
        }
    }

    /// Passes buffered entries to the writer thread.
    pub fn flush(&self) {
        self.hand_over(std::mem::take(&mut self.buffer.lock().unwrap_or_else(PoisonError::into_inner)));
    }

    /// Writes all entries to disk. Returns any error of the writer thread.
    pub fn close(&self) -> Result<()> {
        self.flush();
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner).take();
        match writing.map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(written)) => written,
            Some(Err(_panic)) => bail!("the writer thread of the journal panicked"),
        }
    }

    fn hand_over(&self, chunk: Vec<u8>) {
        if let Some(chunks) = &*self.chunks.lock().unwrap_or_else(PoisonError::into_inner) {
            // If a write has failed, the thread has ended, and `close` returns its error.
            let _ = chunks.send(chunk);
        }
    }
}

fn write(mut file: File, chunks: Receiver<Vec<u8>>) -> Result<()> {
    for chunk in chunks {
        file.write_all(&chunk)?;
    }
    Ok(file.sync_all()?)
}

/// Reads a journal: its header, and then each entry. If the process was killed, the last line may be incomplete.
pub fn read(path: &Path, mut each: impl FnMut(Entry)) -> Result<Header> {
    let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    let mut lines = BufReader::with_capacity(1 << 20, file).lines().zip(1_u64..).peekable();
    let first = lines.next().with_context(|| format!("{} is empty", path.display()))?.0?;
    let Ok(Entry::Run(header)) = serde_json::from_str(&first) else {
        bail!("{} is not a journal of this program", path.display());
    };
    let version = header.version();
    ensure!(
        (OLDEST_VERSION..=VERSION).contains(&version),
        "{} has journal version {version}; this program reads versions {OLDEST_VERSION} to {VERSION}",
        path.display()
    );
    while let Some((line, number)) = lines.next() {
        match serde_json::from_str(&line?) {
            Ok(entry) => each(entry),
            Err(_) if lines.peek().is_none() => break,
            Err(error) => bail!("{}:{number}: {error}", path.display()),
        }
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::contract::{BookingIntent, BookingResponse, Target};
    use crate::status_read::StatusRead;

    fn path(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("hamro-journal-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    fn header() -> Header {
        let concert = Concert { id: Uuid::from_u128(1), seats: 2, sold_before: vec![2] };
        let url = "http://127.0.0.1:3000".to_owned();
        Header::new("k3f9".to_owned(), "rush".to_owned(), Target::Async, url, vec![concert], true)
    }

    fn request(buyer: u64) -> Entry {
        let intent = BookingIntent { buyer, seats: [1, 2].into(), key: Some(0) };
        let response = BookingResponse::Accepted { ticket: Uuid::from_u128(buyer.into()) };
        Entry::Request(RequestRecord {
            intent,
            instance: 0,
            target: Target::Async,
            due: 5,
            took: 7,
            response,
        })
    }

    fn read_all(path: &Path) -> Result<(Header, Vec<Entry>)> {
        let mut entries = Vec::new();
        let header = read(path, |entry| entries.push(entry))?;
        Ok((header, entries))
    }

    #[test]
    fn a_decoded_journal_equals_the_written_one() {
        let path = path("whole");
        let journal = Journal::create(&path).unwrap();
        journal.record(&Entry::Run(header()));
        let clock = Entry::Clock(ClockReading { sent: 1, took: 2, database: 1_764_113_662_341_000 });
        // More than one chunk.
        let entries: Vec<Entry> =
            (0..2_000).map(request).chain([clock, Entry::End { interrupted: false }]).collect();
        for entry in &entries {
            journal.record(entry);
        }
        journal.close().unwrap();
        assert_eq!(read_all(&path).unwrap(), (header(), entries));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_truncated_journal_is_read_and_a_corrupt_one_is_rejected() {
        let path = path("torn");
        let line = |entry| serde_json::to_string(&entry).unwrap();
        let (head, entry) = (line(Entry::Run(header())), line(request(1)));
        std::fs::write(&path, format!("{head}\n{entry}\n{}", &entry[..20])).unwrap();
        assert_eq!(read_all(&path).unwrap().1, [request(1)]);
        std::fs::write(&path, format!("{head}\n{}\n{entry}\n", &entry[..20])).unwrap();
        assert!(read_all(&path).unwrap_err().to_string().contains(":2: "));
        std::fs::write(&path, "hello\n").unwrap();
        assert!(read_all(&path).is_err());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_journal_of_version_1_is_read_and_one_of_a_later_version_is_rejected() {
        let path = path("versions");
        let line = |entry| serde_json::to_string(&entry).unwrap();
        let head = |version| line(Entry::Run(header().with_version(version)));
        let ticket = Uuid::from_u128(7);
        let told = format!(r#"{{"told":{{"ticket":"{ticket}","outcome":{{"status":"expired"}}}}}}"#);
        std::fs::write(&path, format!("{}\n{told}\n", head(1))).unwrap();
        let outcome = serde_json::from_str(r#"{"status":"expired"}"#).unwrap();
        let read = StatusRead::default();
        assert_eq!(read_all(&path).unwrap().1, [Entry::Final { ticket, outcome, read }]);
        std::fs::write(&path, format!("{}\n{told}\n", head(VERSION + 1))).unwrap();
        let refused = read_all(&path).unwrap_err().to_string();
        assert!(refused.contains("version 4; this program reads versions 1 to 3"), "{refused}");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_status_read_is_encoded_compactly_and_decoded_unchanged() {
        let ticket = Uuid::from_u128(7);
        let read = StatusRead { instance: 0, sent: 815_000, took: 9_000 };
        let queued = Entry::Unsettled { ticket, status: "queued".into(), read };
        let line = serde_json::to_string(&queued).unwrap();
        assert!(line.ends_with(r#","sent":815000,"took":9000}}"#), "{line}");
        assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), queued);
        let elsewhere =
            Entry::Unsettled { ticket, status: "queued".into(), read: StatusRead { instance: 3, ..read } };
        let line = serde_json::to_string(&elsewhere).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), elsewhere);
    }

    #[test]
    fn an_existing_journal_is_never_overwritten() {
        let path = path("twice");
        Journal::create(&path).unwrap().close().unwrap();
        assert!(Journal::create(&path).is_err());
        std::fs::remove_file(path).unwrap();
    }
}
