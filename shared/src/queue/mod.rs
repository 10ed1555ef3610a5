//! RabbitMQ: what is on the wire between the intake and the workers, and how to stay connected to it.

mod broker;
mod envelope;
mod parcel;
mod post;
mod settled;
mod topology;

pub use broker::{Broker, BrokerConfig, QueueGone, Session, supervise};
pub use envelope::{Envelope, Remains, Undecodable};
pub use parcel::{ALONE_HEADER, BOOKINGS_HEADER, Parcel};
pub use post::{PostError, post};
pub use settled::{HeardMessage, HeardTicket, SettledMessage, SoldSeats};
pub use topology::{INTAKE_MAX_BYTES, Topology};
