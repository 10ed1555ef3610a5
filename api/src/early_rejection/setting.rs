//! The setting that switches early rejection off.

use hamro_shared::config::{Env, Setting};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyRejectionSetting {
    On,
    Off,
}

impl EarlyRejectionSetting {
    pub fn read(env: &mut Env) -> Option<Self> {
        env.variable(
            "EARLY_REJECTION",
            "Whether bookings of seats that are known to be sold are rejected at once, without a ticket. Otherwise workers \
             reject them.",
            "on or off",
        )
        .or_default("on")
    }
}

impl Setting for EarlyRejectionSetting {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "on" => Some(Self::On),
            "off" => Some(Self::Off),
            _ => None,
        }
    }
}
