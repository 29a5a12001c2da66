//! Values as an administrator types them: one form for sizes, one for durations, one for times, and
//! one for the shares of waves.

pub mod duration;
pub mod local_time;
pub mod pacing;
pub mod shares;
pub mod size;
