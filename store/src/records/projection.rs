//! Projections: records that follow from the signed state.
//!
//! Each record carries the order of the head that it follows from. It is written on the condition
//! that the order on record is the one that was read, and never over a later order. So several
//! publishers can write the records of several heads at once.

mod alone;
mod device;
mod group;
mod lane;
mod members;
mod update;

pub use device::{DeviceChanges, DeviceProjected, DeviceTarget};
pub use group::{GroupProjected, GroupTarget};
