//! The rules of a device, against histories of honest publishers, thieves and hostile tables.

mod changes;
mod device;
mod histories;
mod property;
mod publishers;
mod world;
