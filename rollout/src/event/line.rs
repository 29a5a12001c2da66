//! Events as lines of text.

use packcast_protocol::terminal;

use super::{ChangedDevices, UnsignedChange};
use crate::command::DeviceCommand;
use crate::exclusion::ExclusionReason;
use crate::state::{NAMED_DEVICES, StateNames, settings};

impl UnsignedChange {
    /// Returns the change as one line, which is safe to print on a terminal if the names are.
    pub fn line(&self, names: &impl StateNames) -> String {
        let package = |package| names.package(package);
        match self {
            Self::Published { package: id } => format!("published {}", package(*id)),
            Self::Activated {
                package: id,
                locations,
            } => {
                let locations: Vec<String> = locations.iter().map(ToString::to_string).collect();
                format!("activated {} at {}", package(*id), locations.join(", "))
            }
            Self::Deactivated { package: id } => format!("deactivated {}", package(*id)),
            Self::Deleted { package: id } => format!("deleted {}", package(*id)),
            Self::Paused => "paused the target".to_owned(),
            Self::Resumed => "resumed the target".to_owned(),
            Self::Blocked { devices, reason } => {
                format!("blocked {}{}", listed(devices), because(reason.as_ref()))
            }
            Self::Unblocked { devices } => format!("unblocked {}", listed(devices)),
            Self::Removed { devices, reason } => {
                format!("removed {}{}", listed(devices), because(reason.as_ref()))
            }
            Self::Commanded { device, command } => {
                let command = match command {
                    DeviceCommand::RestartDownload => "restart-download",
                    DeviceCommand::Drop => "drop",
                };
                format!(
                    "sent the command {command} to device {}",
                    names.device(device)
                )
            }
            Self::DevicePaced { device, pacing } => {
                let (device, pacing) = (names.device(device), settings(pacing, "of the groups"));
                format!("device {device}: pacing {pacing}")
            }
            Self::RolloutPaused { package: id, .. } => {
                format!("paused the rollout of {}", package(*id))
            }
            Self::RolloutResumed { package: id, .. } => {
                format!("resumed the rollout of {}", package(*id))
            }
            Self::RolloutPromoted {
                package: id, wave, ..
            } => format!("opened wave {wave} of the rollout of {}", package(*id)),
            Self::RolloutEnded { package: id, .. } => {
                format!("ended the rollout of {}", package(*id))
            }
            Self::TokenRevoked { batch } => format!("revoked the enrolment token of batch {batch}"),
        }
    }
}

fn because(reason: Option<&ExclusionReason>) -> String {
    reason.map_or_else(String::new, |reason| {
        format!(": {}", terminal::line(reason.as_str()))
    })
}

fn listed(changed: &ChangedDevices) -> String {
    let devices = &changed.devices;
    let names = changed.host_names.iter().map(|name| terminal::line(name));
    let names = names.chain(std::iter::repeat(String::new()));
    let shown = devices.iter().zip(names).take(NAMED_DEVICES);
    let shown = shown.map(|(device, name)| match name.as_str() {
        "" => device.to_string(),
        _ => name,
    });
    let shown: Vec<String> = shown.collect();
    let kind = if devices.len() == 1 {
        "device"
    } else {
        "devices"
    };
    let others = match devices.len() - shown.len() {
        0 => String::new(),
        1 => " and 1 other".to_owned(),
        others => format!(" and {others} others"),
    };
    format!("{kind} {}{others}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use packcast_protocol::enrolment::BatchId;
    use packcast_protocol::state::RolloutId;
    use packcast_protocol::{DeviceId, PackageId};

    use super::*;
    use crate::pacing::{PacingOverride, UpTo};

    struct Ids;

    impl StateNames for Ids {
        fn package(&self, package: PackageId) -> String {
            format!("tool@{package}")
        }

        fn device(&self, device: &DeviceId) -> String {
            format!("name of {device}")
        }
    }

    fn id(number: usize) -> DeviceId {
        format!("ocs:pc{number}-2026-03-04-05-06-07")
            .parse()
            .unwrap()
    }

    fn devices(count: usize) -> ChangedDevices {
        ChangedDevices {
            devices: (1..=count).map(id).collect(),
            host_names: (1..=count).map(|number| format!("pc{number}")).collect(),
        }
    }

    #[test]
    fn each_event_is_one_line() {
        let package = "1795000000".parse().unwrap();
        let rollout = RolloutId::from_bytes([7; 16]);
        let without_names = ChangedDevices {
            devices: vec![id(1), id(2), id(3)],
            host_names: vec![String::new(), "pc\u{1b}[2J\n".to_owned()],
        };
        let reason = Some("stolen".parse().unwrap());
        let changes = [
            UnsignedChange::Published { package },
            UnsignedChange::Activated {
                package,
                locations: vec!["cdn".parse().unwrap(), "site".parse().unwrap()],
            },
            UnsignedChange::Deactivated { package },
            UnsignedChange::Deleted { package },
            UnsignedChange::Paused,
            UnsignedChange::Resumed,
            UnsignedChange::Blocked {
                devices: devices(1),
                reason: reason.clone(),
            },
            UnsignedChange::Unblocked {
                devices: devices(6),
            },
            UnsignedChange::Unblocked {
                devices: without_names,
            },
            UnsignedChange::Removed {
                devices: devices(25),
                reason: None,
            },
            UnsignedChange::Commanded {
                device: id(1),
                command: DeviceCommand::Drop,
            },
            UnsignedChange::Commanded {
                device: id(1),
                command: DeviceCommand::RestartDownload,
            },
            UnsignedChange::DevicePaced {
                device: id(1),
                pacing: PacingOverride {
                    cycle_pause_s: UpTo::new(5),
                    ..PacingOverride::default()
                },
            },
            UnsignedChange::DevicePaced {
                device: id(1),
                pacing: PacingOverride::default(),
            },
            UnsignedChange::RolloutPaused { package, rollout },
            UnsignedChange::RolloutResumed { package, rollout },
            UnsignedChange::RolloutPromoted {
                package,
                rollout,
                wave: 2.try_into().unwrap(),
            },
            UnsignedChange::RolloutEnded { package, rollout },
            UnsignedChange::TokenRevoked {
                batch: BatchId::new(Some(&"berlin".parse().unwrap()), [7; 16]),
            },
        ];
        let lines = changes.map(|change| change.line(&Ids));
        insta::assert_snapshot!(lines.join("\n"), @r"
        published tool@1795000000
        activated tool@1795000000 at cdn, site
        deactivated tool@1795000000
        deleted tool@1795000000
        paused the target
        resumed the target
        blocked device pc1: stolen
        unblocked devices pc1, pc2, pc3, pc4, pc5 and 1 other
        unblocked devices ocs:pc1-2026-03-04-05-06-07, pc\u{1b}[2J\n, ocs:pc3-2026-03-04-05-06-07
        removed devices pc1, pc2, pc3, pc4, pc5 and 20 others
        sent the command drop to device name of ocs:pc1-2026-03-04-05-06-07
        sent the command restart-download to device name of ocs:pc1-2026-03-04-05-06-07
        device name of ocs:pc1-2026-03-04-05-06-07: pacing cycle pause 5 s
        device name of ocs:pc1-2026-03-04-05-06-07: pacing of the groups
        paused the rollout of tool@1795000000
        resumed the rollout of tool@1795000000
        opened wave 2 of the rollout of tool@1795000000
        ended the rollout of tool@1795000000
        revoked the enrolment token of batch berlin-a4dqobyha4dqobyha4dqobyha4
        ");
    }
}
