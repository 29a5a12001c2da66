//! Rollouts: the gate in front of a package that many devices are to get in waves.
//!
//! The signed document of a rollout has the calendar, which devices enforce. The gate is a record,
//! which the function checks when a program is about to begin. Its rule:
//!
//! > A place is taken when a program may begin, and is released only when the device is healthy.
//! > In a round: `begun − healthy ≤ halt_at + min(healthy, at_once − halt_at)`.
//!
//! | event | decision | change of the gate |
//! |---|---|---|
//! | a task is announced | [`closed`], [`AnnouncedAhead`] | none |
//! | a device asks before it begins | [`begin`] | one place less, one device more has begun |
//! | a device is refused a place | [`again_s`] | none; the answer names a time |
//! | a device with a place reports a failure | [`failed`] | one failure more; the last one halts |
//! | a device with a place reports a success | [`settling`] | none; the device gets a [`Settling`] |
//! | a settled device checks in | [`Settling::is_over`], [`healthy`] | one healthy device more, and one place or two |
//! | a device of a later wave checks in | [`next_wave`] | the next wave, in a new round |
//! | any check-in or question | [`is_quiet`], [`is_halt_recent`] | none; an alarm names a full gate without news, or a halted gate |
//! | a command | [`pause`], [`resume`], [`promote`], [`end`] | one update |
//!
//! Each decision returns a [`GateChange`]: updates under plain conditions, which the store writes in
//! one transaction with the change of the task. A decision may start from a gate that is a minute
//! old: the conditions fail if the decision would be different today.

mod again;
mod ahead;
mod begin;
mod change;
mod control;
mod defaults;
mod effect;
mod gate;
mod health;
mod limits;
mod pace;
mod plan;
mod promises;
mod quiet;
mod settling;
mod status;
mod wave;
mod weekdays;

pub use again::again_s;
pub use ahead::AnnouncedAhead;
pub use begin::{BeginDecision, GateRead, Place, begin, closed};
pub use change::{GateChange, GateCondition, GateNumber, GateUpdate};
pub use control::{ControlError, end, pause, promote, resume};
pub use defaults::{WaveShares, default_limits, default_shares};
pub use effect::{ResultEffect, RolloutResult, asks_restart};
pub use gate::{Closed, DeviceFailure, Gate, GateState, MAX_EVIDENCE};
pub use health::{PlacedFailure, failed, faults_package, healthy};
pub use limits::{GateLimits, GateLimitsError, LimitValues};
pub use pace::{CheckInRhythm, wave_duration_s};
pub use plan::{OpeningTimes, PlanRequest, PlannedDevice, PlannedWave, RolloutPlan, plan};
pub use promises::promises;
pub use quiet::{has_news, is_halt_recent, is_quiet};
pub use settling::{Settling, settling};
pub use status::{GateStatus, status};
pub use wave::{NotGood, NotNext, next_wave};
pub use weekdays::{Weekdays, WeekdaysError};
