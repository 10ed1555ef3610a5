//! The labels of metrics.

use std::fmt::Debug;
use std::hash::Hash;

pub use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};

/// The labels of a metric. Declare them with [`metric_labels!`](crate::metric_labels).
pub trait Labels: EncodeLabelSet + Copy + Hash + Eq + Debug + Send + Sync + 'static {
    /// The names of the labels.
    const NAMES: &'static [&'static str];
}

/// Declares labels: a struct whose fields are their values.
///
/// Each value is a `&'static str`, so it is written in the program or made at its start. Text of a request cannot become a
/// label, and the number of time series is bounded.
#[macro_export]
macro_rules! metric_labels {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident {
        $($(#[$field_attribute:meta])* $field:ident),* $(,)?
    }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $visibility struct $name {
            $($(#[$field_attribute])* pub $field: &'static str,)*
        }

        impl $crate::telemetry::metrics::EncodeLabelSet for $name {
            fn encode(
                &self,
                encoder: &mut $crate::telemetry::metrics::LabelSetEncoder<'_>,
            ) -> ::std::result::Result<(), ::std::fmt::Error> {
                let labels = [$((stringify!($field), self.$field),)*];
                $crate::telemetry::metrics::EncodeLabelSet::encode(&labels, encoder)
            }
        }

        impl $crate::telemetry::metrics::Labels for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($field),)*];
        }
    };
}

/// The labels of a metric that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NoLabels;

impl EncodeLabelSet for NoLabels {
    fn encode(&self, _: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        Ok(())
    }
}

impl Labels for NoLabels {
    const NAMES: &'static [&'static str] = &[];
}
