//! The catalogue: `/concerts`, `/ticket-types` and `/ticket-tiers`.

mod concerts;
mod test_concerts;
