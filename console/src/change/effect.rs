//! The effect of a change, as a page shows it before the change is made.

use maud::{Markup, html};
use packcast_protocol::Sha256Digest;
use packcast_publisher::{Failure, Preview, Target, Warning, diff};

use super::input::Input;
use super::ledger::ChangeRequest;
use super::{Change, Planned, Signed};
use crate::command::Commands;
use crate::layout::{failure_notice, notice};
use crate::words::{count, device_link, group_link, lines, text};

/// The effect of a change.
pub(super) struct Effect {
    /// The effect as it is shown.
    pub(super) shown: Markup,
    pub(super) details: Markup,
    /// The digest of the shown effect and of the fields.
    pub(super) digest: Sha256Digest,
    pub(super) needs_key: bool,
    pub(super) request: ChangeRequest,
}

/// The part of an effect that is signed.
enum SignedEffect {
    Unsigned,
    Nothing,
    Lines(Vec<String>),
}

impl Effect {
    /// Returns the effect of a change that was decided.
    pub(super) async fn of<C: Change>(
        target: &Target,
        commands: &Commands,
        (change, input): (&C, &Input),
        planned: &mut Planned<'_>,
    ) -> Result<Self, Failure> {
        let (needs_key, signed) = match &planned.signed {
            Signed::No => (false, SignedEffect::Unsigned),
            Signed::Changes(changes) if changes.is_empty() => (false, SignedEffect::Nothing),
            Signed::Changes(changes) => {
                let lines = diff::planned(target, changes).await?.lines;
                (true, SignedEffect::of(lines))
            }
            Signed::Lines(lines) => (!lines.is_empty(), SignedEffect::of(lines.clone())),
        };
        planned.warnings.extend(target.warnings.take());
        let shown = html! {
            (reach(&planned.preview))
            @for warning in &planned.warnings { (notice(warning, commands)) }
            @if let Some(failure) = &planned.partly { (partly(failure, commands)) }
            (difference(&signed))
        };
        let words = change.command();
        let request = ChangeRequest {
            title: C::TITLE,
            path: C::PATH,
            input: input.clone(),
            command: commands.line(words.iter().map(String::as_str)),
        };
        Ok(Self {
            digest: digest(C::PATH, input, &shown),
            details: std::mem::take(&mut planned.details),
            shown,
            needs_key,
            request,
        })
    }
}

impl SignedEffect {
    fn of(lines: Vec<String>) -> Self {
        if lines.is_empty() {
            Self::Nothing
        } else {
            Self::Lines(lines)
        }
    }
}

/// Returns a digest of an effect with the address and the fields of its form.
fn digest(path: &str, input: &Input, shown: &Markup) -> Sha256Digest {
    // The debug output separates and escapes the texts.
    let fields: Vec<_> = input.fields().collect();
    Sha256Digest::of(format!("{:?}", (path, fields, &shown.0)).as_bytes())
}

fn reach(preview: &Preview) -> Markup {
    let at_most = if preview.at_most { "at most " } else { "" };
    html! {
        section.notice aria-labelledby="effect" {
            h2 #effect { "Effect" }
            p { strong { (text(&preview.effect)) } ": " (at_most) (count(preview.devices, "device")) "." }
            @if !preview.groups.is_empty() {
                ul.lines {
                    @for group in &preview.groups {
                        li { "Group " (group_link(&group.group)) ": " (count(group.devices, "device")) }
                    }
                }
            }
            @if !preview.examples.is_empty() {
                ul.lines {
                    @for device in &preview.examples {
                        li { (device_link(&device.device, &device.host_name)) }
                    }
                    @let rest = preview.devices.saturating_sub(preview.examples.len() as u64);
                    @if rest > 0 { li.soft { "and " (count(rest, "further device")) } }
                }
            }
        }
    }
}

fn partly(failure: &Failure, commands: &Commands) -> Markup {
    let (causes, hints) = (failure.causes(), failure.hints());
    failure_notice("warn", &failure.message(), &causes, hints, commands)
}

fn difference(signed: &SignedEffect) -> Markup {
    html! {
        section aria-labelledby="difference" {
            h2 #difference { "Difference of the signed state" }
            @match signed {
                SignedEffect::Unsigned => p {
                    "Nobody signs this change. The history shows it as unsigned."
                },
                SignedEffect::Nothing => p {
                    "Nothing changes in the signed state: it is so already. The records are completed."
                },
                SignedEffect::Lines(all) => {
                    p { "Your key signs these differences:" }
                    (lines(all))
                },
            }
        }
    }
}

/// Writes warnings of a result.
pub(super) fn warnings(warnings: &[Warning], commands: &Commands) -> Markup {
    html! { @for warning in warnings { (notice(warning, commands)) } }
}
