//! Values of options: one form for sizes, one for durations, and one for times.

pub(crate) mod duration;
pub(crate) mod local_time;
pub(crate) mod shares;
pub(crate) mod size;
