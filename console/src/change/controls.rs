//! Labels of controls in the place of options of commands, in texts that a form shows.

use maud::Markup;
use packcast_publisher::Warning;

use crate::command::Commands;
use crate::layout::{failure_notice, notice};
use crate::terminal_options::for_page;

/// An option of a command, and the label of the box that does the same in the form of a change.
pub(crate) type Control = (&'static str, &'static str);

/// Words of the publisher for commands, and those for a form.
const WORDS: [(&str, &str); 2] = [
    ("run the command again in a minute", "try again in a minute"),
    ("run the same command again", "make the change again"),
];

/// Returns a text in which a form names its own boxes: `run 'packcast group delete lab --force'` becomes
/// `check “Also if the group has devices or packages”`.
fn for_form(text: &str, controls: &[Control]) -> String {
    let mut text = for_page(text);
    for (of_command, of_form) in WORDS {
        text = text.replace(of_command, of_form);
    }
    for (option, label) in controls {
        let check = format!("check “{label}”");
        while let Some((begin, end)) = place_of(&text, option) {
            text.replace_range(begin..end, &check);
        }
    }
    text
}

/// Returns the place of the words that ask for an option: a quoted command, or the option with its verb.
fn place_of(text: &str, option: &str) -> Option<(usize, usize)> {
    let at = text.find(option)?;
    let (before, after) = (&text[..at], &text[at + option.len()..]);
    if let Some(begin) = before.rfind("run '")
        && !before[begin + 5..].contains('\'')
    {
        let end = after.find('\'')?;
        return Some((begin, at + option.len() + end + 1));
    }
    let verb = ["pass ", "add "];
    let verb = verb.into_iter().find(|verb| before.ends_with(verb));
    let rest = after.strip_prefix(" to the same command").unwrap_or(after);
    Some((at - verb.map_or(0, str::len), text.len() - rest.len()))
}

/// Writes a failure for a form.
pub(super) fn failure_in_form(
    kind: &str,
    (message, causes, hints): (&str, &[String], &[String]),
    controls: &[Control],
    commands: &Commands,
) -> Markup {
    let in_form = |texts: &[String]| -> Vec<String> {
        let texts = texts.iter();
        texts.map(|text| for_form(text, controls)).collect()
    };
    let message = for_form(message, controls);
    failure_notice(kind, &message, &in_form(causes), &in_form(hints), commands)
}

/// Writes a warning for a form.
pub(super) fn warning_in_form(
    warning: &Warning,
    controls: &[Control],
    commands: &Commands,
) -> Markup {
    let mut warning = warning.clone();
    warning.text = for_form(&warning.text, controls);
    warning.hint = warning.hint.map(|hint| for_form(&hint, controls));
    notice(&warning, commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_the_boxes_of_a_form() {
        let controls = [
            ("--force", "Deploy again"),
            ("--allow-downgrade", "Allow a downgrade"),
        ];
        let texts = [
            "unassign these packages, or run 'packcast group rename lab office --force': devices wait",
            "cannot resume the rollout: 3 failures have halted it; look at them, then add --force",
            "pass --allow-downgrade to allow the downgrade",
            "add --allow-downgrade to the same command to allow the downgrade",
            "run 'packcast assign tool@1 --group lab --allow-downgrade' to allow the downgrade",
            "run 'packcast status tool@1', then pass --members",
            "run the command again in a minute; nothing is lost",
            "run the same command again: it continues from the commit that was not stored",
            "pass the public key of that publisher with --accept-key",
        ];
        let texts = texts.map(|text| for_form(text, &controls));
        insta::assert_snapshot!(texts.join("\n"), @"
        unassign these packages, or check “Deploy again”: devices wait
        cannot resume the rollout: 3 failures have halted it; look at them, then check “Deploy again”
        check “Allow a downgrade” to allow the downgrade
        check “Allow a downgrade” to allow the downgrade
        check “Allow a downgrade” to allow the downgrade
        run 'packcast status tool@1', then pass --members
        try again in a minute; nothing is lost
        make the change again: it continues from the commit that was not stored
        run the command below in a terminal, with --accept-key and the public key of that publisher
        ");
    }
}
