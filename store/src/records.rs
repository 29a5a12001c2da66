//! Records: one DynamoDB table, with its reads and writes.
//!
//! Every read is one Query, or a read by key. Nothing scans the table.

mod announce;
mod assign;
mod backoff;
mod batch;
mod budget;
mod client;
mod command;
mod commit;
mod connect;
mod copies;
mod device;
mod error;
mod event;
mod exclusion;
mod group;
mod host;
mod import;
mod in_process;
mod index;
mod item;
mod key;
mod leaf;
mod location;
mod members;
mod membership;
mod meter;
mod names;
mod pacing;
mod package;
mod paged;
mod projection;
mod read;
mod reconcile;
mod removal;
mod report;
mod reserve;
mod retry;
mod revision;
mod rollout;

mod signing;
mod state;
mod stored;
mod table;
mod tally;
mod task;
mod waits;
mod withdraw;
mod write;

pub use announce::{Announced, Announcing};
pub use batch::{BatchRecord, Enrolment};
pub use client::Records;
pub use connect::RecordsConfig;
pub use device::{CheckInItems, CheckInWritten, DeviceState};
pub use error::{RecordsError, TableFault};
pub use event::{EventCursor, EventRecord};
pub use exclusion::{Blocked, Unblocked};
pub use import::{ImportedGroup, ImportedPackage, ImportedRows};
pub use in_process::{ServiceAnswer, TableService};
pub use index::DeploymentState;
pub use meter::{ReadMeter, ReadUsage};
pub use package::{ActivateError, PublishError};
pub use paged::Page;
pub use projection::{
    DeviceChanges, DeviceProjected, DeviceTarget, GroupMoved, GroupProjected, GroupTarget,
    ProjectedDevice, RecordedLeaves,
};
pub use removal::Removing;
pub use report::{Recorded, RolloutRecorded};
pub use reserve::{MAX_AHEAD_S, Reservation, ReserveError, Reserved};
pub use rollout::{GateControlError, PlaceTaken};
pub use signing::{Sign, SignError};
pub use state::{
    CommitRecord, Head, HeadChange, HeadChanged, OrderedCommit, Pause, RecordedHead, ServiceTime,
    StoredPage,
};
pub use stored::{ExcludedDevice, RecordedLeaf};
pub use tally::Tally;
