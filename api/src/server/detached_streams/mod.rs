//! Event streams that are sent over HTTP/1.1 without hyper.

pub(super) mod sender;
pub(super) mod socket;
