//! Texts that every interface writes in the same way.

use jiff::Timestamp;
use packcast_protocol::manifest::Platform;
use packcast_protocol::{Outcome, UnixTime};
use packcast_rollout::pacing::UpTo;
use packcast_rollout::{FinishedTask, PacingOverride};

use crate::target::LOCAL;

/// Writes a time in UTC, such as `2026-11-22 21:55:00 UTC`.
pub fn time(at: UnixTime) -> String {
    i64::try_from(at.0)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(
            || at.to_string(),
            |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        )
}

/// Writes a time relative to another; the date alone if they are months apart.
pub fn relative(at: UnixTime, now: UnixTime) -> String {
    const MONTHS_S: u64 = 90 * 24 * 3_600;
    let (seconds, is_past) = (at.0.abs_diff(now.0), at.0 <= now.0);
    let amount = match seconds {
        0..60 if is_past => return "just now".to_owned(),
        0..3_600 => format!("{} min", seconds.div_ceil(60)),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        172_800..MONTHS_S => format!("{} days", seconds / 86_400),
        _ => return time(at).chars().take(10).collect(),
    };
    if is_past {
        format!("{amount} ago")
    } else {
        format!("in {amount}")
    }
}

/// Writes the outcome of a deployment, with the result code and its meaning.
///
/// A program that ran and failed counts as failed, even if its agent reports a success.
pub fn outcome(task: &FinishedTask) -> String {
    let outcome = match task.outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "cancelled",
        Outcome::NotApplicable => "not applicable",
    };
    let code = &task.code;
    match (code.meaning(), &task.detail) {
        (Some(meaning), _) if code.exit_code().is_some() => format!("{outcome}: {meaning}"),
        (_, Some(detail)) => format!("{outcome}: {code} ({detail})"),
        (Some(meaning), None) => format!("{outcome}: {code}, {meaning}"),
        (None, None) => format!("{outcome}: {code}"),
    }
}

/// Writes the platform of a package.
pub const fn platform(platform: Platform) -> &'static str {
    match platform {
        Platform::Any => "any system",
        Platform::Linux => "Linux",
        Platform::Windows => "Windows",
        Platform::Macos => "macOS",
    }
}

/// Writes the settings that are set; nothing if none is.
pub fn pacing(pacing: &PacingOverride) -> String {
    let number = |name: &str, number: Option<u16>, unit: &str| {
        number.map(|number| format!("{name} {number}{unit}"))
    };
    let strict = |strict| if strict { "strict" } else { "not strict" };
    let words = [
        number(
            "fragment pause",
            pacing.fragment_pause_s.map(UpTo::get),
            "s",
        ),
        number("cycle pause", pacing.cycle_pause_s.map(UpTo::get), "s"),
        number("period pause", pacing.period_pause_s.map(UpTo::get), "s"),
        number("check-in every", pacing.contact_every_h.map(UpTo::get), "h"),
        number("drop after", pacing.timeout_days.map(UpTo::get), "d"),
        pacing.strict.map(|set| strict(set).to_owned()),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Writes a number with its noun, such as `1 device` or `2 devices`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// Adds `--target` to each `'packcast …'` command of a text, unless the target is the default.
pub fn for_target(text: &str, target: &str) -> String {
    if target == LOCAL {
        return text.to_owned();
    }
    for_options(text, &format!("--target {target}"))
}

/// Adds options to each `'packcast …'` command of a text that names no target yet.
pub fn for_options(text: &str, options: &str) -> String {
    const COMMAND: &str = "'packcast ";
    if options.is_empty() {
        return text.to_owned();
    }
    let mut parts = text.split(COMMAND);
    let mut with_options = parts.next().unwrap_or_default().to_owned();
    for rest in parts {
        with_options.push_str(COMMAND);
        let command = rest.split('\'').next().unwrap_or_default();
        if !command.contains("--target ") {
            with_options.push_str(options);
            with_options.push(' ');
        }
        with_options.push_str(rest);
    }
    with_options
}

/// Indents lines after the first one that begin like a label of this program.
///
/// A cause can quote an archive or a server, which could otherwise forge a hint.
pub(crate) fn without_labels(text: &str) -> String {
    const LABELS: [&str; 3] = ["error:", "warning:", "hint:"];
    let is_label = |line: &str| LABELS.iter().any(|label| line.starts_with(label));
    let lines = text.split('\n').enumerate().map(|(index, line)| {
        if index > 0 && is_label(line) {
            format!("  {line}")
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_in_hints_name_a_target_that_is_not_the_default() {
        let hint = "run 'packcast list' to see the packages, then 'packcast activate PACKAGE'";
        assert_eq!(for_target(hint, "local"), hint);
        insta::assert_snapshot!(for_target(hint, "prod"), @"run 'packcast --target prod list' to see the packages, then 'packcast --target prod activate PACKAGE'");
    }

    #[test]
    fn a_command_that_names_a_target_stays_as_it_is() {
        let hint = "run 'packcast list --target prod', then 'packcast keys show'";
        insta::assert_snapshot!(for_options(hint, "--target test --config x.toml"), @"run 'packcast list --target prod', then 'packcast --target test --config x.toml keys show'");
        assert_eq!(for_options(hint, ""), hint);
        let once = for_target("'packcast list'", "prod");
        assert_eq!(for_target(&once, "prod"), once);
    }

    #[test]
    fn a_count_of_one_is_singular() {
        assert_eq!(
            [0, 1, 2].map(|n| count(n, "device")),
            ["0 devices", "1 device", "2 devices"]
        );
    }
}
