//! Pure decisions on records: which packages each device gets, and when.
//!
//! This crate does no I/O, reads no clock and draws no random number. The check-in function
//! reads records, calls this crate for a decision, and writes the result.

pub mod announce;
pub mod apply;
pub mod assign;
pub mod begin;
pub mod change;
pub mod check_in;
pub mod command;
pub mod daily_facts;
pub mod event;
pub mod exclusion;
pub mod explain;
pub mod group;
pub mod locations;
pub mod machine;
pub mod membership;
pub mod memory;
pub mod pacing;
pub mod reconcile;
pub mod record;
pub mod replacement;
pub mod rollout;
pub mod state;
pub mod system;
pub mod unassign;
pub mod waits;
pub mod write_budget;

pub use announce::{AnnouncedTask, Announcement, NotAnnounced, Rules, announce};
pub use apply::{Ignored, ReportDecision, ReportedBy, apply_report};
pub use change::TaskChange;
pub use check_in::{CheckInEffect, ReportedFacts, check_in_effect};
pub use command::{CommandRecord, DeviceCommand, DeviceCommands};
pub use daily_facts::{FactsEffect, FactsMark, FactsRecord, facts_effect, reported_system};
pub use event::{AdministratorEvent, ChangedBy, ChangedDevices, EventTime, UnsignedChange};
pub use exclusion::{Exclusion, ExclusionKind, ExclusionReason};
pub use explain::{ExplainInputs, Explanation, Reason, RolloutWait, explain};
pub use group::GroupState;
pub use machine::{ClockError, MachineRecord, OtherMachine};
pub use membership::{Memberships, ReconcileCount};
pub use pacing::{Pacing, PacingChange, PacingOverride};
pub use record::{
    DeviceRecord, FinishedTask, LocationRecord, OpenTask, PackageRecord, PackageState, Published,
    TaskState,
};
pub use system::DeviceSystem;
pub use waits::{ReportedWaits, wait_of};
pub use write_budget::WriteBudget;
