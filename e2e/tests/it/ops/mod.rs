//! What operators see during a rush.

mod page;
