//! The catalogue: `/concerts`, `/ticket-types` and `/ticket-tiers`.

mod concerts;
