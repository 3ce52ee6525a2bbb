//! The life of a scan: one table of states and events. Whatever is not in it is refused.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far a scan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ScanState)]
pub enum State {
    /// Photos are awaited.
    Created,
    /// All photos are there; the vision service has not taken the job yet.
    Uploaded,
    /// The job waits.
    Queued,
    /// The job runs.
    Running,
    /// Measured; waits for the user.
    Ready,
    /// `error` says why.
    Failed,
    /// The meal counts.
    Confirmed,
    /// Thrown away by the user, or superseded by another analysis of the same meal.
    Rejected,
    /// No photo came, or nobody confirmed.
    Expired,
}

/// What happens to a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The last photo is there and looks like one.
    PhotosArrived,
    /// A photo came that is none, or is empty or too large.
    PhotoRefused,
    /// The vision service took the job.
    JobTaken,
    JobStarted,
    ResultCame,
    /// The job failed for good, or too often.
    JobFailed,
    /// The job is gone or failed for a passing reason: it is submitted again.
    JobLost,
    Confirm,
    Reject,
    /// Longer in a state than its limit.
    Overdue,
}

impl State {
    pub const ALL: [Self; 9] = [
        Self::Created,
        Self::Uploaded,
        Self::Queued,
        Self::Running,
        Self::Ready,
        Self::Failed,
        Self::Confirmed,
        Self::Rejected,
        Self::Expired,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Uploaded => "uploaded",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Confirmed => "confirmed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == name)
    }

    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Failed | Self::Confirmed | Self::Rejected | Self::Expired
        )
    }

    /// How long a scan may stay in a state before [`Event::Overdue`]; none in those that end it.
    pub fn limit(self) -> Option<SignedDuration> {
        match self {
            Self::Created => Some(SignedDuration::from_hours(1)),
            Self::Uploaded => Some(SignedDuration::from_mins(30)),
            Self::Queued => Some(SignedDuration::from_hours(2)),
            Self::Running => Some(SignedDuration::from_mins(15)),
            Self::Ready => Some(SignedDuration::from_hours(30 * 24)),
            Self::Failed | Self::Confirmed | Self::Rejected | Self::Expired => None,
        }
    }

    /// The state after an event; `None` if it cannot happen there.
    pub fn after(self, event: Event) -> Option<Self> {
        use Event as E;
        use State as S;
        Some(match (self, event) {
            (S::Created, E::PhotosArrived) => S::Uploaded,
            (S::Created, E::PhotoRefused) => S::Failed,
            (S::Created, E::Overdue) => S::Expired,
            (S::Uploaded, E::JobTaken) => S::Queued,
            (S::Uploaded, E::JobFailed | E::Overdue) => S::Failed,
            (S::Queued, E::JobStarted) => S::Running,
            (S::Queued | S::Running, E::ResultCame) => S::Ready,
            (S::Queued | S::Running, E::JobFailed | E::Overdue) => S::Failed,
            (S::Queued | S::Running, E::JobLost) => S::Uploaded,
            (S::Ready, E::Confirm) => S::Confirmed,
            (S::Ready, E::Overdue) => S::Expired,
            (S::Created | S::Uploaded | S::Queued | S::Running | S::Ready, E::Reject) => S::Rejected,
            _ => return None,
        })
    }
}

/// The pause before another try of what failed `failures` times: 1 s, 2 s, 4 s ... at most a minute.
pub fn pause(failures: u32) -> SignedDuration {
    SignedDuration::from_secs(1_i64 << failures.min(6)).min(SignedDuration::from_secs(60))
}

/// A job is submitted at most so often for one scan.
pub const SUBMISSIONS: i32 = 3;

/// How long a job is left alone between two looks, by how long it has waited or run so far: 2 s to half a minute. Webhooks
/// are faster; this is the net, and a thousand jobs in a queue must not be asked after all the time.
pub fn look(so_far: SignedDuration) -> SignedDuration {
    (so_far / 8).clamp(SignedDuration::from_secs(2), SignedDuration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVENTS: [Event; 10] = [
        Event::PhotosArrived,
        Event::PhotoRefused,
        Event::JobTaken,
        Event::JobStarted,
        Event::ResultCame,
        Event::JobFailed,
        Event::JobLost,
        Event::Confirm,
        Event::Reject,
        Event::Overdue,
    ];

    #[test]
    fn every_state_is_reached_and_left_or_final() {
        for state in State::ALL {
            let ways_out = EVENTS.iter().filter(|e| state.after(**e).is_some()).count();
            assert_eq!(state.is_final(), ways_out == 0, "{state:?}");
            // A stuck scan has a limit, and something happens at it.
            assert_eq!(
                state.limit().is_some(),
                state.after(Event::Overdue).is_some(),
                "{state:?}"
            );
            assert_eq!(state.is_final(), state.limit().is_none(), "{state:?}");
            let ways_in = State::ALL
                .iter()
                .flat_map(|from| EVENTS.iter().filter_map(|e| from.after(*e)))
                .filter(|to| *to == state)
                .count();
            assert!(state == State::Created || ways_in > 0, "{state:?}");
            assert_eq!(State::named(state.as_str()), Some(state));
        }
    }

    proptest! {
        /// Whatever happens in whatever order, repeated or not: a scan is confirmed only from a result that a user
        /// confirmed, once, and nothing moves it after its end.
        #[test]
        fn any_story_is_lawful(story in prop::collection::vec(prop::sample::select(EVENTS.to_vec()), 0..60)) {
            let mut state = State::Created;
            let (mut had_result, mut ended) = (false, 0);
            for event in story {
                let Some(next) = state.after(event) else { continue };
                prop_assert!(!state.is_final());
                had_result |= event == Event::ResultCame;
                if next == State::Confirmed {
                    prop_assert!(had_result && event == Event::Confirm);
                }
                if next == State::Uploaded {
                    had_result = false;
                }
                ended += u32::from(next.is_final());
                state = next;
            }
            prop_assert!(ended <= 1);
        }
    }

    #[test]
    fn pauses_grow_to_a_minute() {
        assert_eq!(look(SignedDuration::ZERO), SignedDuration::from_secs(2));
        assert_eq!(
            look(SignedDuration::from_mins(1)),
            SignedDuration::from_millis(7500)
        );
        assert_eq!(look(SignedDuration::from_hours(1)), SignedDuration::from_secs(30));
        assert_eq!(pause(0), SignedDuration::from_secs(1));
        assert_eq!(pause(3), SignedDuration::from_secs(8));
        assert_eq!(pause(99), SignedDuration::from_secs(60));
    }
}
