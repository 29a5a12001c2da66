//! Tests of the console: its real server on a socket of loopback, and a client that sends any bytes.

mod attacks;
mod browser;
mod changes;
mod forms;
mod groups;
mod key;
mod pages;
mod publish;
mod publish_errors;
mod refused_fields;
mod rollout_changes;
mod rollouts;
mod running;
mod scale;
mod small_disk;
mod system;
mod terminal_options;
mod upload_attacks;
mod uploads;
mod visitor;
