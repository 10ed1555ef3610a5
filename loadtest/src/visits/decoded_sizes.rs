//! How many bytes the received bodies have after decompression. Each distinct body, as its `ETag` identifies it, is
//! decompressed once, on another thread, because to decompress each would take more CPU time than to serve it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::task::TaskTracker;

use super::encoding::Encoding;

pub struct DecodedSizes {
    /// For each resource, by tag. A resource without tags counts as unchanging.
    bodies: Mutex<Vec<HashMap<Box<str>, Body>>>,
    decoding: TaskTracker,
    corrupt: Arc<AtomicU64>,
}

#[derive(Default)]
struct Body {
    responses: u64,
    received: u64,
    /// 0 until it is known.
    decoded: Arc<AtomicU64>,
}

impl DecodedSizes {
    pub fn new(resources: usize) -> Self {
        let bodies = std::iter::repeat_with(HashMap::new).take(resources).collect();
        Self { bodies: Mutex::new(bodies), decoding: TaskTracker::new(), corrupt: Arc::default() }
    }

    /// Whether the body of this version must be kept, because it is the first one.
    pub fn is_new(&self, resource: usize, tag: &str) -> bool {
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        if bodies[resource].contains_key(tag) {
            return false;
        }
        bodies[resource].insert(tag.into(), Body::default());
        true
    }

    /// Counts a response with this version. `first` is the body if it was new.
    pub fn add(
        &self,
        resource: usize,
        tag: &str,
        received: u64,
        encoding: Option<Encoding>,
        first: Option<Vec<u8>>,
    ) {
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(body) = bodies[resource].get_mut(tag) else { return };
        body.responses += 1;
        body.received += received;
        let decoded = body.decoded.clone();
        drop(bodies);
        match (encoding, first) {
            (Some(encoding), Some(first)) => {
                let corrupt = self.corrupt.clone();
                self.decoding.spawn_blocking(move || match encoding.decoded_bytes(&first) {
                    Ok(bytes) => decoded.store(bytes, Ordering::Relaxed),
                    Err(_) => {
                        corrupt.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            (None, Some(first)) => decoded.store(first.len() as u64, Ordering::Relaxed),
            (_, None) => {}
        }
    }

    /// Waits until every kept body is decoded.
    pub async fn finish(&self) {
        self.decoding.close();
        self.decoding.wait().await;
    }

    /// The number of bytes of all bodies. A body whose size is unknown counts as it was received.
    pub fn total(&self) -> u64 {
        let bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        let size = |body: &Body| match body.decoded.load(Ordering::Relaxed) {
            0 => body.received,
            decoded => decoded * body.responses,
        };
        bodies.iter().flat_map(HashMap::values).map(size).sum()
    }

    /// The number of distinct bodies that could not be decompressed.
    pub fn corrupt(&self) -> u64 {
        self.corrupt.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_distinct_body_is_decoded_once_and_counted_as_often_as_it_was_received() {
        let sizes = DecodedSizes::new(2);
        let body = zstd::stream::encode_all([b'x'; 1_000].as_slice(), 1).unwrap();
        let received = body.len() as u64;
        assert!(sizes.is_new(0, "\"a\""));
        sizes.add(0, "\"a\"", received, Some(Encoding::Zstd), Some(body.clone()));
        for _ in 0..2 {
            assert!(!sizes.is_new(0, "\"a\""));
            sizes.add(0, "\"a\"", received, Some(Encoding::Zstd), None);
        }
        assert!(sizes.is_new(1, "\"a\""), "another resource may have the same tag");
        sizes.add(1, "\"a\"", 5, None, Some(b"plain".to_vec()));
        assert!(sizes.is_new(1, ""));
        sizes.add(1, "", 4, Some(Encoding::Gzip), Some(b"what".to_vec()));
        sizes.finish().await;
        assert_eq!((sizes.total(), sizes.corrupt()), (3 * 1_000 + 5 + 4, 1));
    }
}
