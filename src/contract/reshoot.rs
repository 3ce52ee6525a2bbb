//! How a photo could be taken better.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::vocabulary::vocabulary;

/// One change, and what it is expected to gain.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reshoot {
    pub action: ReshootAction,
    /// Share by which the interval of the meal's weight gets narrower, 0 to 1 (of the logarithm of p90 over p10).
    pub gain: f64,
}

vocabulary! {
    /// A change to how the photo is taken.
    ReshootAction {
        StepBack = "step_back":
            "Food or its plate is cut off by the photo's edge.",
            "Take the photo again with the whole plate in view.";
        LayCard = "lay_card":
            "The scale is a guess.",
            "Lay a bank card beside the plate and send `reference`, or send the plate's diameter.";
        Tilt = "tilt":
            "Seen from straight above heights hardly show.",
            "Tilt the phone to about 30 degrees.";
        HoldHigher = "hold_higher":
            "Seen from the side the back is hidden, and the plate tells the scale badly.",
            "Hold the phone higher and flatter, at 30 to 45 degrees.";
        SecondPhoto = "second_photo":
            "Another side would show what this one hides.",
            "Take a second photo from another side and send both as `images`.";
    }
}
