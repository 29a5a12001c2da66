//! Settings of the registered service that Windows Installer cannot set.

use std::error::Error;
use std::io;
use std::time::Duration;

use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl,
    ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceStartType, ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::{PRESHUTDOWN_LIMIT, UNIT};

/// The pause before Windows starts an agent again that has ended with an error.
const RESTART_PAUSE: Duration = Duration::from_secs(30);

/// The time without an error after which Windows counts the errors from zero again.
const FAILURE_RESET: Duration = Duration::from_hours(24);

/// The error of Windows if a service runs already (`ERROR_SERVICE_ALREADY_RUNNING`).
const ALREADY_RUNNING: i32 = 1056;

/// An error from one setting of the service.
#[derive(Debug)]
pub(crate) struct SettingError {
    pub(crate) setting: &'static str,
    pub(crate) source: Box<dyn Error>,
}

/// Sets the properties of the registered service, and starts the service if `starts` is set.
///
/// An error of one setting does not prevent the others.
pub(crate) fn configure_service(starts: bool) -> Vec<SettingError> {
    let service = match open() {
        Ok(service) => service,
        Err(source) => {
            return vec![SettingError {
                setting: "all settings",
                source: source.into(),
            }];
        }
    };
    let mut errors = Vec::new();
    let mut set = |setting, result: windows_service::Result<()>| {
        if let Err(source) = result {
            let source = source.into();
            errors.push(SettingError { setting, source });
        }
    };
    set("command line", set_command_line(&service));
    set("delayed start", service.set_delayed_auto_start(true));
    set(
        "restart after errors",
        service.update_failure_actions(failure_actions()),
    );
    // Without this setting, Windows restarts only an agent that has crashed.
    set(
        "restart after exit codes",
        service.set_failure_actions_on_non_crash_failures(true),
    );
    set(
        "time to stop before a shutdown",
        service.set_preshutdown_timeout(PRESHUTDOWN_LIMIT),
    );
    if starts {
        set("start", start(&service));
    }
    errors
}

/// Sets the command line with a quoted path. A path with spaces that is not quoted could also name
/// another program, such as `C:\Program.exe`.
fn set_command_line(service: &Service) -> windows_service::Result<()> {
    let program = std::env::current_exe().map_err(windows_service::Error::Winapi)?;
    service.change_config(&ServiceInfo {
        name: UNIT.into(),
        display_name: "Packcast agent".into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: program,
        launch_arguments: vec!["service".into(), "run".into()],
        // These stay as they are.
        dependencies: Vec::new(),
        account_name: None,
        account_password: None,
    })
}

fn open() -> windows_service::Result<Service> {
    let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT)?;
    // Windows demands the right to start from everybody who sets an automatic restart.
    let rights = ServiceAccess::CHANGE_CONFIG | ServiceAccess::START;
    manager.open_service(UNIT, rights)
}

/// Windows repeats the last action: there is no limit of restarts, as nobody would notice a device
/// that has stopped trying.
fn failure_actions() -> ServiceFailureActions {
    ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(FAILURE_RESET),
        reboot_msg: None,
        command: None,
        actions: Some(vec![ServiceAction {
            action_type: ServiceActionType::Restart,
            delay: RESTART_PAUSE,
        }]),
    }
}

fn start(service: &Service) -> windows_service::Result<()> {
    match service.start::<&str>(&[]) {
        Err(windows_service::Error::Winapi(error)) if is_running(&error) => Ok(()),
        started => started,
    }
}

fn is_running(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ALREADY_RUNNING)
}
