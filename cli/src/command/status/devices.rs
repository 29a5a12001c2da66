//! The devices of a package with their states or results.

use packcast_publisher::device::waits;
use packcast_publisher::status::{DeviceProgress, DeviceResult};
use packcast_store::records::DeploymentState;

use super::failures;
use crate::command::device::list as device_list;
use crate::output::{self, Format};

/// Prints the devices of a package, or those in one state.
pub(super) fn print(devices: &[DeviceProgress], only: Option<DeploymentState>, format: Format) {
    let has_results = only.is_some_and(DeploymentState::is_outcome);
    output::result(format, &devices, |devices| text(devices, has_results));
}

fn text(devices: &[DeviceProgress], has_results: bool) -> String {
    if has_results {
        let heading = ["HOST", "DEVICE", "RESULT", "LAST LINE", "WHEN", "EXCLUDED"];
        return output::table(heading, devices.iter().map(result_row));
    }
    let rows = devices.iter().map(|at| {
        let state = match &at.waits {
            None => at.state.to_string(),
            Some(waiting) => format!("{}; waits: {}", at.state, waits::words(waiting)),
        };
        let excluded = device_list::words(at.excluded.as_ref());
        [at.host_name.clone(), at.device.to_string(), state, excluded]
    });
    output::table(["HOST", "DEVICE", "STATE", "EXCLUDED"], rows)
}

fn result_row(at: &DeviceProgress) -> [String; 6] {
    let of_result =
        |text: fn(&DeviceResult) -> String| at.result.as_ref().map_or_else(String::new, text);
    [
        at.host_name.clone(),
        at.device.to_string(),
        of_result(|result| failures::code(&result.code)),
        of_result(|result| result.line.clone().unwrap_or_default()),
        of_result(|result| output::when(result.finished_at)),
        device_list::words(at.excluded.as_ref()),
    ]
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;
    use insta::assert_snapshot;

    use super::super::StateChoice;
    use super::*;
    use crate::fixtures::{self, AGENT, plain};
    use crate::output::screen::tests::on_terminals;

    #[test]
    fn json_names_each_state_as_the_option_does() {
        for choice in StateChoice::value_variants() {
            let state = serde_json::to_value(DeploymentState::from(*choice)).unwrap();
            assert_eq!(state, choice.to_possible_value().unwrap().get_name());
        }
    }

    #[test]
    fn every_state_of_a_device_has_a_word() {
        let states = [
            DeploymentState::Unreached,
            DeploymentState::Pending,
            DeploymentState::Announced,
            DeploymentState::Withdrawn,
            DeploymentState::Succeeded,
            DeploymentState::Failed,
            DeploymentState::Cancelled,
            DeploymentState::NotApplicable,
        ];
        let devices = states.map(|state| DeviceProgress {
            device: AGENT.parse().unwrap(),
            host_name: "web01".to_owned(),
            result: None,
            state,
            excluded: (state == DeploymentState::Pending).then(fixtures::blocked),
            waits: (state == DeploymentState::Announced).then(fixtures::waiting),
        });
        assert_snapshot!(on_terminals(|| text(&devices, false)), @"
        80:
        HOST   DEVICE                          STATE                 EXCLUDED
        web01  key:abcdefghijklmnopqrstuvwxya  not checked in since
                                               the assignment
        web01  key:abcdefghijklmnopqrstuvwxya  waiting               blocked since
                                                                     2026-11-18 11:06:40
                                                                     UTC: stolen
        web01  key:abcdefghijklmnopqrstuvwxya  announced; waits:
                                               the state of the
                                               device has expired
        web01  key:abcdefghijklmnopqrstuvwxya  withdrawn
        web01  key:abcdefghijklmnopqrstuvwxya  succeeded
        web01  key:abcdefghijklmnopqrstuvwxya  failed
        web01  key:abcdefghijklmnopqrstuvwxya  cancelled
        web01  key:abcdefghijklmnopqrstuvwxya  not applicable

        140:
        HOST   DEVICE                          STATE                                                  EXCLUDED
        web01  key:abcdefghijklmnopqrstuvwxya  not checked in since the assignment
        web01  key:abcdefghijklmnopqrstuvwxya  waiting                                                blocked since 2026-11-18 11:06:40 UTC: stolen
        web01  key:abcdefghijklmnopqrstuvwxya  announced; waits: the state of the device has expired
        web01  key:abcdefghijklmnopqrstuvwxya  withdrawn
        web01  key:abcdefghijklmnopqrstuvwxya  succeeded
        web01  key:abcdefghijklmnopqrstuvwxya  failed
        web01  key:abcdefghijklmnopqrstuvwxya  cancelled
        web01  key:abcdefghijklmnopqrstuvwxya  not applicable
        ");
        assert_snapshot!(plain(&text(&devices, false)), @"
        HOST   DEVICE                          STATE                                                  EXCLUDED
        web01  key:abcdefghijklmnopqrstuvwxya  not checked in since the assignment
        web01  key:abcdefghijklmnopqrstuvwxya  waiting                                                blocked since 2026-11-18 11:06:40 UTC: stolen
        web01  key:abcdefghijklmnopqrstuvwxya  announced; waits: the state of the device has expired
        web01  key:abcdefghijklmnopqrstuvwxya  withdrawn
        web01  key:abcdefghijklmnopqrstuvwxya  succeeded
        web01  key:abcdefghijklmnopqrstuvwxya  failed
        web01  key:abcdefghijklmnopqrstuvwxya  cancelled
        web01  key:abcdefghijklmnopqrstuvwxya  not applicable
        ");
    }

    #[test]
    fn devices_with_an_outcome_have_their_results() {
        let failed = DeviceProgress {
            device: AGENT.parse().unwrap(),
            host_name: "web01".to_owned(),
            state: DeploymentState::Failed,
            result: Some(fixtures::failed().into()),
            excluded: None,
            waits: None,
        };
        assert_snapshot!(on_terminals(|| text(std::slice::from_ref(&failed), true)), @"
        80:
        HOST   DEVICE                          RESULT          LAST LINE  WHEN
        web01  key:abcdefghijklmnopqrstuvwxya  ERR_EXIT_CODE_  disk full  2026-11-18
                                               7                          11:06:40 UTC

        140:
        HOST   DEVICE                          RESULT           LAST LINE  WHEN                     EXCLUDED
        web01  key:abcdefghijklmnopqrstuvwxya  ERR_EXIT_CODE_7  disk full  2026-11-18 11:06:40 UTC
        ");
    }
}
