//! `packcast device list`: lists the devices, or the excluded devices.

use packcast_publisher::device::{self, ListedDevice, exclusion};
use packcast_publisher::{Failure, Target};
use packcast_rollout::Exclusion;
use packcast_store::records::ExcludedDevice;

use crate::output::{self, Format};

/// The default number of devices in a list for people.
pub(super) const FOR_PEOPLE: usize = 100;

/// Prints the first `limit` devices, in the order of their ids.
pub(super) async fn print(target: &Target, limit: usize, format: Format) -> Result<(), Failure> {
    let first = device::list(target, limit).await?;
    output::result(format, &first, |first| list(&first.devices));
    let (shown, known) = (first.devices.len(), first.known);
    if known > shown as u64 {
        output::note(&limited(shown, known));
    }
    Ok(())
}

/// Prints all blocked and removed devices.
pub(super) async fn print_excluded(target: &Target, format: Format) -> Result<(), Failure> {
    let excluded = exclusion::excluded(target).await?;
    output::result(format, &excluded, |excluded| list_excluded(excluded));
    Ok(())
}

/// Returns the note for a list of `shown` devices out of `known`.
fn limited(shown: usize, known: u64) -> String {
    format!("showing {shown} of {known} devices; pass a higher --limit for more")
}

fn list(devices: &[ListedDevice]) -> String {
    output::table(
        ["DEVICE", "HOST", "SYSTEM", "AGENT", "LAST SEEN", "EXCLUDED"],
        devices.iter().map(|listed| {
            let device = &listed.record;
            [
                device.device.to_string(),
                device.host_name.clone(),
                device.os.clone(),
                device.agent.clone(),
                output::when(device.last_seen),
                words(listed.excluded.as_ref()),
            ]
        }),
    )
}

fn list_excluded(devices: &[ExcludedDevice]) -> String {
    output::table(
        ["DEVICE", "HOST", "EXCLUDED"],
        devices.iter().map(|excluded| {
            [
                excluded.device.to_string(),
                excluded.host_name.clone(),
                exclusion::words(&excluded.exclusion),
            ]
        }),
    )
}

/// Writes the exclusion of a device; nothing if there is none.
pub(crate) fn words(excluded: Option<&Exclusion>) -> String {
    excluded.map_or_else(String::new, exclusion::words)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::fixtures::{self, AGENT, OCS, plain};
    use crate::output::screen::tests::on_terminals;

    #[test]
    fn devices_are_listed_with_their_last_check_in() {
        let devices =
            [(AGENT, None), (OCS, Some(fixtures::blocked()))].map(|(id, excluded)| ListedDevice {
                record: fixtures::device(id),
                excluded,
            });
        assert_snapshot!(on_terminals(|| list(&devices)), @"
        80:
        DEVICE                          HOST   SYSTEM         LAST SEEN     EXCLUDED
        key:abcdefghijklmnopqrstuvwxya  web01  Debian         2026-11-18
                                               GNU/Linux 12   11:06:40 UTC
        ocs:web01-2026-03-04-05-06-07   web01  Debian         2026-11-18    blocked
                                               GNU/Linux 12   11:06:40 UTC  since
                                                                            2026-11-18
                                                                            11:06:40
                                                                            UTC: stolen

        140:
        DEVICE                          HOST   SYSTEM               AGENT                        LAST SEEN                EXCLUDED
        key:abcdefghijklmnopqrstuvwxya  web01  Debian GNU/Linux 12  packcast-agent 0.1.0         2026-11-18 11:06:40 UTC
        ocs:web01-2026-03-04-05-06-07   web01  Debian GNU/Linux 12  OCS-NG_unified_unix_agent_v  2026-11-18 11:06:40 UTC  blocked since 2026-11-18
                                                                    2.10.0                                                11:06:40 UTC: stolen
        ");
        assert_snapshot!(plain(&list(&devices)), @"
        DEVICE                          HOST   SYSTEM               AGENT                              LAST SEEN                EXCLUDED
        key:abcdefghijklmnopqrstuvwxya  web01  Debian GNU/Linux 12  packcast-agent 0.1.0               2026-11-18 11:06:40 UTC
        ocs:web01-2026-03-04-05-06-07   web01  Debian GNU/Linux 12  OCS-NG_unified_unix_agent_v2.10.0  2026-11-18 11:06:40 UTC  blocked since 2026-11-18 11:06:40 UTC: stolen
        ");
        assert_snapshot!(limited(100, 240), @"showing 100 of 240 devices; pass a higher --limit for more");
    }

    #[test]
    fn excluded_devices_are_listed_with_their_reason() {
        let excluded = ExcludedDevice {
            device: OCS.parse().unwrap(),
            host_name: "web01".to_owned(),
            exclusion: fixtures::blocked(),
        };
        let shown = [excluded];
        assert_snapshot!(on_terminals(|| list_excluded(&shown)), @"
        80:
        DEVICE                         HOST   EXCLUDED
        ocs:web01-2026-03-04-05-06-07  web01  blocked since 2026-11-18 11:06:40 UTC:
                                              stolen

        140:
        DEVICE                         HOST   EXCLUDED
        ocs:web01-2026-03-04-05-06-07  web01  blocked since 2026-11-18 11:06:40 UTC: stolen
        ");
        assert_snapshot!(plain(&list_excluded(&shown)), @"
        DEVICE                         HOST   EXCLUDED
        ocs:web01-2026-03-04-05-06-07  web01  blocked since 2026-11-18 11:06:40 UTC: stolen
        ");
    }
}
