//! Explores the models, as they are and without each of their rules.

mod deadlines;
mod early_rejection;
mod report;
mod settlement;
mod status_reads;
