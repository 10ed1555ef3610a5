//! RabbitMQ: what is on the wire between the intake and the workers, and how to stay connected to it.

mod broker;
mod envelope;
mod parcel;
mod publish;
mod settled;
mod topology;

pub use broker::{Broker, BrokerConfig, QueueDeleted, Session, supervise};
pub use envelope::{Envelope, EnvelopeHeader, Undecodable};
pub use parcel::{BOOKINGS_HEADER, ISOLATED_HEADER, Parcel};
pub use publish::{PublishError, publish_confirmed};
pub use settled::{RawSettledEvent, RawSettledTicket, SettledEvent, SoldSeats};
pub use topology::{INTAKE_MAX_BYTES, Topology};
