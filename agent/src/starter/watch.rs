//! The watch over another version while it runs.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::choice::OtherVersion;
use super::version_process::VersionProcess;
use crate::service::ServiceManager;
use crate::signals::Controls;

/// The time between two looks at a version that has not checked in.
const LOOK_S: u32 = 60;

/// The time that a version that has not checked in has to end after the request to end.
const GRACE: Duration = Duration::from_secs(10);

/// Waits for the end of another version, and ends one that does not check in.
///
/// `reach` asks if the server is reachable. Until a version on trial has checked in, the starter is its
/// judge, so it sends the signs of life that the service manager waits for. A version that has proved
/// itself sends them on its own. The starter is its judge only if the service manager waits for none,
/// and so would not notice a version that hangs.
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
    let is_on_trial = version.trial().is_some();
    let mut is_judged = is_on_trial || manager.heartbeat().is_none();
    // The starter is the service, and works. A version that hangs before it is ready would look like
    // one that somebody stops, when the time limit of the start has passed.
    manager.ready().await;
    loop {
        tokio::select! {
            status = process.wait() => return status,
            () = controls.stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                // At once, because the starter itself is killed when the time limit has passed.
                version.uncount_start();
                manager.stopping().await;
                // A version begins no package before it has checked in.
                if !version.has_checked_in() {
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
                if is_on_trial {
                    manager.alive().await;
                }
                let is_reached = controls.stop.run_until_cancelled(reach()).await == Some(true);
                // The version may have checked in while the starter asked.
                is_judged = !version.has_checked_in();
                if is_reached && is_judged {
                    version.count_reachable(LOOK_S);
                }
                if is_judged && version.is_silent() {
                    return process.end(GRACE).await;
                }
            }
        }
    }
}
