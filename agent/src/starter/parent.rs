//! The link of a version to its starter.

use std::io::{self, Read as _};
use std::sync::Arc;

use crate::platform;
use crate::signals::Controls;

/// The byte on standard input that asks a version to read its configuration again.
pub(super) const RELOAD: u8 = b'r';

/// Follows the starter, on standard input: its end stops the agent.
///
/// The agent does not outlive its starter, so that a second starter never finds an agent that nobody
/// can stop.
///
/// # Errors
/// `starter` is the process id of the starter, which has ended already.
pub(super) fn follow(controls: &Controls, starter: Option<u32>) -> io::Result<()> {
    platform::end_with_parent(starter)?;
    let stop = controls.stop.clone();
    let reload = Arc::clone(&controls.reload);
    std::thread::Builder::new().spawn(move || {
        let mut input = io::stdin().lock();
        let mut byte = [0];
        loop {
            match input.read(&mut byte) {
                Ok(1) if byte[0] == RELOAD => reload.notify_one(),
                Ok(1) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        stop.cancel();
    })?;
    Ok(())
}
