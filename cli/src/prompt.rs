//! Questions to a person at the terminal.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use inquire::error::InquireResult;
use inquire::validator::Validation;
use inquire::{Confirm, InquireError, Password, Select, Text};
use packcast_publisher::Failure;
use packcast_publisher::signing::KeyError;

/// Set if a person has pressed Ctrl-C at a question.
static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Returns whether a person has pressed Ctrl-C at a question, which needs no error text.
pub(crate) fn is_interrupted() -> bool {
    IS_INTERRUPTED.load(Ordering::Relaxed)
}

/// Asks for a confirmation. The default is no, and the Escape key means no, too.
pub(crate) fn confirm(question: &str) -> Result<bool, Failure> {
    let answer = Confirm::new(question)
        .with_default(false)
        .prompt_skippable();
    Ok(answered(answer).map_err(Failure::failed)?.unwrap_or(false))
}

/// Asks for a value until the answer is valid. An invalid answer stays for editing, with the rule.
pub(crate) fn value<T: FromStr<Err: Display>>(question: &str) -> Result<T, Failure> {
    let answer = text(question, &[], |answer| rule::<T>(answer).map(|_| ()))?;
    rule::<T>(&answer).map_err(Failure::usage)
}

/// Asks for a text until `check` accepts the answer. An invalid answer stays for editing, with the
/// rule that `check` returns.
///
/// While a person types, the question offers the choices that contain the typed text. The answer is
/// without surrounding blanks, and need not be a choice.
pub(crate) fn text(
    question: &str,
    choices: &[String],
    check: impl Fn(&str) -> Result<(), String> + Clone,
) -> Result<String, Failure> {
    let check = move |answer: &str| {
        Ok(match check(answer.trim()) {
            Ok(()) => Validation::Valid,
            Err(rule) => Validation::Invalid(rule.into()),
        })
    };
    let question = Text::new(question).with_validator(check);
    let answer = if choices.is_empty() {
        question.prompt()
    } else {
        let offered = |typed: &str| Ok(offered(choices, typed));
        question.with_autocomplete(offered).prompt()
    };
    let answer = answered(answer).map_err(Failure::usage)?;
    Ok(answer.trim().to_owned())
}

/// Returns the choices that contain a text; case does not matter.
fn offered(choices: &[String], typed: &str) -> Vec<String> {
    let typed = typed.trim().to_lowercase();
    let fits = |choice: &&String| choice.to_lowercase().contains(&typed);
    choices.iter().filter(fits).cloned().collect()
}

/// Reads an answer, or returns the rule that it breaks.
fn rule<T: FromStr<Err: Display>>(answer: &str) -> Result<T, String> {
    answer
        .trim()
        .parse()
        .map_err(|error: T::Err| error.to_string())
}

/// Asks for one of several choices.
pub(crate) fn choice(question: &str, choices: Vec<&'static str>) -> Result<&'static str, Failure> {
    answered(Select::new(question, choices).prompt()).map_err(Failure::usage)
}

/// Asks for a passphrase, which is not shown.
pub(crate) fn passphrase(question: &str) -> Result<String, KeyError> {
    let answer = Password::new(question).without_confirmation().prompt();
    answered(answer).map_err(|error| KeyError::Terminal(Box::new(error)))
}

/// Notes an interruption.
fn answered<T>(answer: InquireResult<T>) -> InquireResult<T> {
    if let Err(InquireError::OperationInterrupted) = &answer {
        IS_INTERRUPTED.store(true, Ordering::Relaxed);
    }
    answer
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_protocol::{PackageName, PackageVersion};

    use super::*;

    #[test]
    fn choices_that_contain_the_typed_text_are_offered() {
        let choices = ["Setup.exe", "run.sh", "unsetup.cmd"].map(ToOwned::to_owned);
        assert_eq!(offered(&choices, ""), choices);
        assert_eq!(offered(&choices, " SET"), ["Setup.exe", "unsetup.cmd"]);
        assert_eq!(offered(&choices, "run.sh --all"), [""; 0]);
    }

    #[test]
    fn an_invalid_answer_is_met_with_the_rule() {
        assert_eq!(rule::<PackageName>(" vlc ").unwrap().to_string(), "vlc");
        let rules = [
            rule::<PackageName>("my tool").unwrap_err(),
            rule::<PackageVersion>("").unwrap_err(),
        ];
        assert_snapshot!(rules.join("\n"), @r#"
        "my tool" is not a package name: 1 to 64 letters, digits or any of ._+-, the first a letter or digit
        "" is not a package version: 1 to 64 letters, digits or any of ._+-~:, the first a letter or digit
        "#);
    }
}
