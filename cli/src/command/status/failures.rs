//! The failures of a package, grouped by their causes.

use packcast_protocol::ResultCode;
use packcast_publisher::status::{ExampleDevice, FailureCauses};

use crate::output;

/// The maximum number of causes in a text.
const SHOWN: usize = 10;

/// Writes a table of the most frequent causes; `None` if there are no failures. `failed` is the
/// number of all failures.
pub(super) fn text(failures: &FailureCauses, failed: u64) -> Option<String> {
    if failures.by_cause.is_empty() {
        return None;
    }
    let rows = failures.by_cause.iter().take(SHOWN).map(|cause| {
        let examples: Vec<String> = cause.examples.iter().map(example).collect();
        [
            cause.devices.to_string(),
            code(&cause.code),
            cause.line.clone().unwrap_or_default(),
            examples.join(", "),
        ]
    });
    let table = output::table(["DEVICES", "RESULT", "LAST LINE", "FOR EXAMPLE"], rows);
    let of_all = if failures.read < failed {
        format!("Causes of {} of {failed} failures:\n\n", failures.read)
    } else {
        String::new()
    };
    let more = match failures.by_cause.len().saturating_sub(SHOWN) {
        0 => String::new(),
        1 => "\n1 more cause; --format json has all.".to_owned(),
        more => format!("\n{more} more causes; --format json has all."),
    };
    Some(format!("{of_all}{table}{more}"))
}

/// Writes a result code in words, if it has some.
pub(super) fn code(code: &ResultCode) -> String {
    code.meaning()
        .map_or_else(|| code.to_string(), std::borrow::Cow::into_owned)
}

/// Returns the host name of a device, or its id if the device reports none.
fn example(example: &ExampleDevice) -> String {
    if example.host_name.is_empty() {
        example.device.to_string()
    } else {
        example.host_name.clone()
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_publisher::status::FailureCause;

    use super::*;
    use crate::fixtures::OCS;
    use crate::output::screen::tests::on_terminals;

    fn failures(causes: usize) -> FailureCauses {
        let example = |host_name: &str| ExampleDevice {
            device: OCS.parse().unwrap(),
            host_name: host_name.to_owned(),
        };
        let cause = |number: usize| FailureCause {
            code: "ERR_EXIT_CODE_100".parse().unwrap(),
            line: (number == 0).then(|| {
                "E: Could not get lock <path>. It is held by process <n> (apt)".to_owned()
            }),
            devices: 4,
            examples: vec![example("web01"), example("web02"), example("")],
            output_tail: None,
        };
        FailureCauses {
            read: 8,
            by_cause: (0..causes).map(cause).collect(),
        }
    }

    #[test]
    fn causes_are_listed_with_examples() {
        assert_eq!(text(&failures(0), 0), None);
        assert_snapshot!(on_terminals(|| text(&failures(2), 8).unwrap()), @"
        80:
        DEVICES  RESULT             LAST LINE                  FOR EXAMPLE
        4        ERR_EXIT_CODE_100  E: Could not get lock      web01, web02, ocs:web01-2
                                    <path>. It is held by      026-03-04-05-06-07
                                    process <n> (apt)
        4        ERR_EXIT_CODE_100                             web01, web02, ocs:web01-2
                                                               026-03-04-05-06-07

        140:
        DEVICES  RESULT             LAST LINE                                                      FOR EXAMPLE
        4        ERR_EXIT_CODE_100  E: Could not get lock <path>. It is held by process <n> (apt)  web01, web02, ocs:web01-2026-03-04-05-06-07
        4        ERR_EXIT_CODE_100                                                                 web01, web02, ocs:web01-2026-03-04-05-06-07
        ");
    }

    #[test]
    fn a_part_of_the_failures_is_announced_as_a_part() {
        let text = text(&failures(12), 5_000).unwrap();
        assert!(
            text.starts_with("Causes of 8 of 5000 failures:\n\n"),
            "{text}"
        );
        assert!(
            text.ends_with("\n2 more causes; --format json has all."),
            "{text}"
        );
    }
}
