//! Tests of the console: its real server on a socket of loopback, and a client that sends any bytes.

mod attacks;
mod browser;
mod changes;
mod forms;
mod groups;
mod key;
mod pages;
mod publish;
mod rollout_changes;
mod rollouts;
mod scale;
mod system;
mod uploads;
mod visitor;
