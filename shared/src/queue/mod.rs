//! RabbitMQ: the messages between the api and the workers, the topology, and connections that are re-established.

mod amqp_url;
mod announced_sales;
mod broker;
mod broker_config;
mod confirming_channel;
mod connect_error;
mod connected_roles;
mod consume;
mod envelope;
mod figures;
mod heartbeat;
mod inspection;
mod intake_controls;
mod nodes;
mod opening;
mod parcel;
mod publish;
mod refusal;
mod role_failures;
mod settled;
mod tls;
mod topology;

pub use amqp_url::BrokerUrl;
pub use announced_sales::{AnnouncedConcert, AnnouncedSales};
pub use broker::{Broker, BrokerTask, QueueDeleted, supervise};
pub use broker_config::BrokerConfig;
pub use confirming_channel::{ConfirmingChannel, Refusals, open_confirming_channel};
pub use consume::consume;
pub use envelope::{ENVELOPE_VERSION, Envelope, EnvelopeHeader, Undecodable, version_for};
pub use figures::{ApiFigures, Latencies, WorkerFigures};
pub use heartbeat::{
    HEARTBEAT_AFTER_CHANGE, HEARTBEAT_EVERY, Heartbeat, HeartbeatSchedule, InstanceReport, ProcessState,
    Published, SILENT_AFTER, WorkerState,
};
pub use inspection::QueueCount;
pub use intake_controls::{ConcertControls, IntakeControls};
pub use parcel::{BOOKINGS_HEADER, Parcel};
pub use publish::{PublishError, check_confirmation, properties, publish_confirmed};
pub use refusal::{Refusal, TopologyError};
pub use role_failures::RoleFailures;
pub use settled::{FreedSeat, RawSettledEvent, RawSettledTicket, Release, SettledEvent, SoldSeats};
pub use topology::{Counted, INTAKE_MAX_BYTES, Topology};
