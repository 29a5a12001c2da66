//! The service control manager of Windows: it starts the agent, and asks it to stop or to read its
//! configuration again.

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{
    self, ServiceControlHandlerResult, ServiceStatusHandle,
};
use windows_service::{define_windows_service, service_dispatcher};

use super::UNIT;

/// The time after a request to stop in which a package under way can end.
///
/// Windows Installer, which stops the service to upgrade the agent, waits 30 seconds.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// The same time before a shutdown. The installation of the service tells Windows to wait as long.
pub(crate) const PRESHUTDOWN_LIMIT: Duration = Duration::from_mins(15);

/// The time between two signs of life of a service that stops.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(5);

/// The time that Windows waits for the next sign of life of a service that starts or stops.
const WAIT_HINT: Duration = Duration::from_secs(30);

/// The work of the service, which returns its exit code. Windows calls it on a thread of its own.
type Work = Box<dyn Fn() -> u8 + Send + Sync>;

static WORK: OnceLock<Work> = OnceLock::new();

/// The service in this process. Windows calls the handler of its requests on another thread.
static SERVICE: LazyLock<Service> = LazyLock::new(Service::default);

#[derive(Debug, Default)]
struct Service {
    /// Absent in a process that the service control manager has not started.
    manager: OnceLock<ServiceStatusHandle>,
    reported: Mutex<Reported>,
    stop: CancellationToken,
    limit: OnceLock<Duration>,
    reload: Notify,
}

/// The state that was last reported to the service control manager.
#[derive(Debug, Default)]
struct Reported {
    stops: bool,
    checkpoint: u32,
}

/// Errors from starting the agent as a service.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot connect to the service control manager: only the manager can run this command; start the service with `{}`",
    super::START_SERVICE
)]
pub(crate) struct NoServiceManager(#[source] windows_service::Error);

/// Runs `work` as the service that the service control manager has started this process for.
///
/// Returns when the service has ended.
pub(crate) fn run_service(
    work: impl Fn() -> u8 + Send + Sync + 'static,
) -> Result<(), NoServiceManager> {
    // A process calls this once, and a second call could only set the same work.
    let _ = WORK.set(Box::new(work));
    service_dispatcher::start(UNIT, service_main).map_err(NoServiceManager)
}

define_windows_service!(service_main, on_start);

fn on_start(_arguments: Vec<OsString>) {
    let manager = match service_control_handler::register(UNIT, on_control) {
        Ok(manager) => SERVICE.manager.get_or_init(|| manager),
        Err(_) => return,
    };
    report(manager, ServiceState::StartPending, 0, 0);
    let code = WORK.get().map_or(1, |work| work());
    report(manager, ServiceState::Stopped, 0, code);
}

/// Handles a request of the service control manager.
fn on_control(request: ServiceControl) -> ServiceControlHandlerResult {
    match request {
        ServiceControl::Stop | ServiceControl::Shutdown => SERVICE.stop(STOP_LIMIT),
        ServiceControl::Preshutdown => SERVICE.stop(PRESHUTDOWN_LIMIT),
        ServiceControl::ParamChange => SERVICE.reload.notify_one(),
        // Windows remembers the reported state.
        ServiceControl::Interrogate => {}
        _ => return ServiceControlHandlerResult::NotImplemented,
    }
    ServiceControlHandlerResult::NoError
}

impl Service {
    /// Lets the service stop. A package under way has time until the limit.
    fn stop(&self, limit: Duration) {
        let _ = self.limit.set(limit);
        // Before the handler returns: Windows sends no request to a service that stops, and the
        // handler must not be called again.
        self.report_progress(true);
        self.stop.cancel();
    }

    /// Reports the progress of a stop. `begins` is set for the first report.
    fn report_progress(&self, begins: bool) {
        let mut reported = self.reported();
        reported.stops |= begins;
        if let (Some(manager), true) = (self.manager.get(), reported.stops) {
            reported.checkpoint += 1;
            report(manager, ServiceState::StopPending, reported.checkpoint, 0);
        }
    }

    /// Reports that the service runs, unless it stops already.
    fn report_running(&self) {
        let reported = self.reported();
        if let (Some(manager), false) = (self.manager.get(), reported.stops) {
            report(manager, ServiceState::Running, 0, 0);
        }
    }

    fn reported(&self) -> std::sync::MutexGuard<'_, Reported> {
        // A panic cannot leave the value half-changed.
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reports a state. An error is ignored: Windows ends a service that stays silent.
fn report(manager: &ServiceStatusHandle, state: ServiceState, checkpoint: u32, code: u8) {
    let requests = ServiceControlAccept::STOP
        | ServiceControlAccept::SHUTDOWN
        | ServiceControlAccept::PRESHUTDOWN
        | ServiceControlAccept::PARAM_CHANGE;
    let is_running = state == ServiceState::Running;
    let is_pending = !is_running && state != ServiceState::Stopped;
    let _ = manager.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: if is_running {
            requests
        } else {
            ServiceControlAccept::empty()
        },
        exit_code: match code {
            0 => ServiceExitCode::NO_ERROR,
            code => ServiceExitCode::ServiceSpecific(code.into()),
        },
        checkpoint,
        wait_hint: if is_pending {
            WAIT_HINT
        } else {
            Duration::ZERO
        },
        process_id: None,
    });
}

/// Waits until the service has to end, although a package may still be under way. Reports meanwhile
/// that the service still stops.
pub(crate) async fn stop_limit() {
    SERVICE.stop.cancelled().await;
    let limit = SERVICE.limit.get().copied().unwrap_or(STOP_LIMIT);
    let end = Instant::now() + limit;
    loop {
        let remaining = end.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return;
        }
        sleep(remaining.min(CHECKPOINT_PAUSE)).await;
        SERVICE.report_progress(false);
    }
}

/// Waits for a request to stop.
pub(crate) async fn stop_requested() {
    SERVICE.stop.cancelled().await;
}

/// Waits for the next request to read the configuration again.
pub(crate) async fn reload_requested() {
    SERVICE.reload.notified().await;
}

/// Returns a name for the service control manager if it has started this process.
pub(crate) fn notify_address() -> Option<OsString> {
    SERVICE.manager.get().map(|_| UNIT.into())
}

/// The service control manager, as the receiver of the agent's messages.
#[derive(Debug)]
pub(crate) struct NotifySocket(());

impl NotifySocket {
    /// Connects to the manager that [`notify_address`] has named.
    #[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
    pub(crate) const fn connect(_address: &OsStr) -> io::Result<Self> {
        Ok(Self(()))
    }

    /// Sends a message in the form of `sd_notify(3)`.
    ///
    /// The manager needs only the readiness: the handler of its requests reports a stop at once, and
    /// Windows has neither a watchdog nor a status line.
    #[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
    #[expect(clippy::unused_self, reason = "other systems have a socket")]
    pub(crate) fn send(&self, message: &[u8]) -> io::Result<()> {
        if message == b"READY=1" {
            SERVICE.report_running();
        }
        Ok(())
    }
}
