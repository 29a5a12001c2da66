//! Tests of the rules of rollouts in a world of devices, functions and a store.

mod demo;
mod demonstrated;
mod device;
mod histories;
mod rhythm;
mod simulated;
mod simulation;
mod timeline;
mod truth;
mod world;
