//! The watch over another version while it runs.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::choice::OtherVersion;
use super::version_process::VersionProcess;
use crate::service::ServiceManager;
use crate::signals::Controls;
use crate::update::Next;

/// The time between two looks at a version on trial that has not checked in.
const LOOK_S: u32 = 60;

/// The time that a version on trial has to end after the request to end.
const GRACE: Duration = Duration::from_secs(10);

/// Waits for the end of another version, and ends one on trial that does not check in.
///
/// `reach` asks if the server is reachable. Until a version on trial has checked in, the starter is its
/// judge, so it sends the signs of life that the service manager waits for.
pub(super) async fn watch(
    process: &mut VersionProcess,
    version: &mut OtherVersion,
    controls: &Controls,
    manager: &ServiceManager,
    reach: impl AsyncFn() -> bool,
) -> io::Result<ExitStatus> {
    let period = Duration::from_secs(LOOK_S.into());
    let mut looks = interval_at(Instant::now() + period, period);
    // After a suspension of the computer, one look is enough.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_stopping = false;
    let mut is_judged = version.trial().is_some();
    if is_judged {
        manager.ready().await;
    }
    loop {
        tokio::select! {
            status = process.wait() => return status,
            () = controls.stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                manager.stopping().await;
                // A version begins no package before it has checked in.
                if is_judged && !version.has_checked_in() {
                    return process.end(GRACE).await;
                }
                process.ask_to_stop();
            }
            () = controls.reload.notified() => process.ask_to_reload().await,
            _ = looks.tick(), if is_judged && !is_stopping => {
                is_judged = !version.has_checked_in();
                if !is_judged {
                    continue;
                }
                manager.alive().await;
                let is_reached = controls.stop.run_until_cancelled(reach()).await == Some(true);
                // The version may have checked in while the starter asked.
                is_judged = !version.has_checked_in();
                if is_reached && is_judged {
                    version.memory.count_reachable(LOOK_S);
                    version.note();
                }
                if is_judged && matches!(version.memory.next(), Next::GoBack(_)) {
                    return process.end(GRACE).await;
                }
            }
        }
    }
}
