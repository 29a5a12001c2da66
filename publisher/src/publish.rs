//! Publishing: from a source to objects that a device can fetch.

pub(crate) mod build;
pub(crate) mod info;
pub(crate) mod inspect;
mod pack;
pub(crate) mod plan;
pub(crate) mod publication;
pub(crate) mod source;
pub(crate) mod stock;
