//! Tests of the rules of rollouts in a world of devices, functions and a store.

mod device;
mod histories;
mod rhythm;
mod simulated;
mod simulation;
mod truth;
mod world;
