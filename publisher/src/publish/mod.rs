//! Publishing: from a source to objects that a device can fetch.

pub mod build;
pub mod info;
pub mod plan;
pub mod publication;
pub mod source;
pub mod stock;
