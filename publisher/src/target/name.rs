//! The one target name that has a meaning of its own.

/// The name of the target that `packcast local` serves.
pub const LOCAL: &str = "local";
