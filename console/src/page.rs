//! The pages, one file each.

pub(crate) mod device;
mod device_filters;
pub(crate) mod devices;
pub(crate) mod failures;
pub(crate) mod group;
pub(crate) mod groups;
pub(crate) mod history;
mod next_step;
pub(crate) mod now;
pub(crate) mod package;
pub(crate) mod packages;
pub(crate) mod rollout;
mod rollout_step;
pub(crate) mod rollouts;
pub(crate) mod sign_in;
