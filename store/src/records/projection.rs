//! Projections: records that follow from the signed state.
//!
//! Each record carries the order of the head that it follows from. It is written on the condition
//! that the order on record is the one that was read, and never over a later order. So several
//! publishers can write the records of several heads at once. A location has no order: it is written
//! only while its head is the head.

mod alone;
mod device;
mod forged;
mod group;
mod lane;
mod location;
mod members;
mod recorded;
mod rename;
mod roster;
mod update;

pub use device::{DeviceChanges, DeviceProjected, DeviceTarget, ProjectedDevice};
pub use group::{GroupProjected, GroupTarget};
pub use recorded::RecordedLeaves;
pub use rename::GroupMoved;
