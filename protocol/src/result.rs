//! Result codes, in their wire form.

mod meaning;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::text_form::text_form;

/// A result code: the value of `ERR` in a report (protocol reference §5.4), 1 to 255 bytes.
///
/// Codes that no known agent sends are kept unchanged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResultCode {
    /// `SUCCESS`.
    Success,
    /// `SUCCESS_<n>`: a LAUNCH that exited with `n`, zero or not (Unix and Packcast agents).
    Exited(i32),
    /// `SUCCESS_`: a repeated success whose exit code a Unix agent has lost.
    SuccessRepeated,
    /// `EXIT_CODE_<n>`: any other exit code (Windows agents, and Packcast agents for EXECUTE).
    ExitCode(i32),
    /// A code without a number.
    Named(NamedCode),
    /// Any other text.
    Unknown(String),
}

macro_rules! named_codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)+) => {
        /// Codes without a number: first those of OCS agents and servers, then those of
        /// Packcast agents.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum NamedCode { $($(#[$doc])* $variant,)+ }

        impl NamedCode {
            /// Every code, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

named_codes! {
    AlreadySetup = "SUCCESS_ALREADY_SETUP",
    AlreadyInHistory = "SUCCESS_ALREADY_IN_HISTORY",
    RebootInitiated = "SUCCESS_REBOOT_INITIATED",
    RebootRequired = "SUCCESS_REBOOT_REQUIRED",
    RestartRequired = "SUCCESS_RESTART_REQUIRED",
    BadId = "ERR_BAD_ID",
    DownloadInfo = "ERR_DOWNLOAD_INFO",
    DownloadPack = "ERR_DOWNLOAD_PACK",
    BadDigest = "ERR_BAD_DIGEST",
    Build = "ERR_BUILD",
    Unzip = "ERR_UNZIP",
    OutOfSpace = "ERR_OUT_OF_SPACE",
    Execute = "ERR_EXECUTE",
    ExecuteNoExitCode = "ERR_EXECUTE_NO_EXIT_CODE",
    ExecuteTimeout = "ERR_EXECUTE_TIMEOUT",
    ExecuteTooManyTry = "ERR_EXECUTE_TOO_MANY_TRY",
    BadParam = "ERR_BAD_PARAM",
    Aborted = "ERR_ABORTED",
    Timeout = "ERR_TIMEOUT",
    Clean = "ERR_CLEAN",
    DoneFailed = "ERR_DONE_FAILED",
    AlreadyInHistoryError = "ERR_ALREADY_IN_HISTORY",
    UnknownCode = "UNKNOWN_CODE",
    /// The manifest is not the announced one, or cannot be read.
    BadManifest = "ERR_BAD_MANIFEST",
    /// The signature of the manifest does not verify, or is not by a trusted key.
    BadSignature = "ERR_BAD_SIGNATURE",
    /// The manifest has expired.
    Expired = "ERR_EXPIRED",
    /// The manifest is for other devices.
    WrongAudience = "ERR_WRONG_AUDIENCE",
    /// A newer package of the same name succeeded, and this package does not allow a downgrade.
    GoingBack = "ERR_GOING_BACK",
    /// The package is for another platform.
    WrongPlatform = "ERR_WRONG_PLATFORM",
    /// The archive would write outside its folder, or is larger than the manifest allows.
    UnsafeArchive = "ERR_UNSAFE_ARCHIVE",
    /// A signal ended the program.
    Signal = "ERR_SIGNAL",
    /// The agent stopped while the program ran, so the effect of the program is unknown.
    Interrupted = "ERR_INTERRUPTED",
    /// The agent could not store the files in their folder.
    Store = "ERR_STORE",
    /// No signed document assigns the package to the device, or the device has already acted on
    /// each assignment.
    NotAssigned = "ERR_NOT_ASSIGNED",
    /// The signed documents that assign the package to the device have expired.
    AssignmentExpired = "ERR_ASSIGNMENT_EXPIRED",
    /// The device cancelled the attempt before it acted.
    Cancelled = "CANCELLED",
}

/// Text that is not a result code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a result code has 1 to 255 bytes and no control characters; this text has {bytes} bytes")]
pub struct ResultCodeError {
    bytes: usize,
}

/// Outcome of an attempt, judged by the exit codes that the publisher counts as success.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Succeeded,
    Failed,
    /// The device cancelled the attempt before it acted: neither a success nor a failure.
    Cancelled,
    /// The device runs another system than the package is for, so that it did not act: neither a
    /// success nor a failure.
    #[serde(rename = "not-applicable")]
    NotApplicable,
}

impl ResultCode {
    /// Returns the outcome of the attempt, given the package's success codes.
    ///
    /// A Unix agent reports a LAUNCH that exited with 3 as `SUCCESS_3`. The program ran, but it
    /// succeeded only if 3 is a success code of the package (protocol reference §8, item 8).
    pub fn outcome(&self, success_codes: &BTreeSet<i32>) -> Outcome {
        let succeeded = match self {
            Self::Named(NamedCode::Cancelled) => return Outcome::Cancelled,
            Self::Named(NamedCode::WrongPlatform) => return Outcome::NotApplicable,
            Self::Success | Self::SuccessRepeated => true,
            Self::Exited(code) | Self::ExitCode(code) => success_codes.contains(code),
            Self::Named(code) => code.as_str().starts_with("SUCCESS"),
            Self::Unknown(text) => text.starts_with("SUCCESS"),
        };
        if succeeded {
            Outcome::Succeeded
        } else {
            Outcome::Failed
        }
    }

    /// Returns the exit code in the result.
    pub const fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exited(code) | Self::ExitCode(code) => Some(*code),
            _ => None,
        }
    }
}

impl From<NamedCode> for ResultCode {
    fn from(code: NamedCode) -> Self {
        Self::Named(code)
    }
}

impl FromStr for ResultCode {
    type Err = ResultCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
            return Err(ResultCodeError { bytes: text.len() });
        }
        // Only the canonical spelling of a number is a number, so that every code is written as
        // it was read.
        let number = |digits: &str| {
            digits
                .parse::<i32>()
                .ok()
                .filter(|n| n.to_string() == digits)
        };
        let exited = || {
            text.strip_prefix("SUCCESS_")
                .and_then(number)
                .map(Self::Exited)
        };
        let exit_code = || {
            text.strip_prefix("EXIT_CODE_")
                .and_then(number)
                .map(Self::ExitCode)
        };
        let named = || {
            NamedCode::ALL
                .iter()
                .find(|code| code.as_str() == text)
                .copied()
                .map(Self::Named)
        };
        Ok(match text {
            "SUCCESS" => Self::Success,
            "SUCCESS_" => Self::SuccessRepeated,
            _ => exited()
                .or_else(exit_code)
                .or_else(named)
                .unwrap_or_else(|| Self::Unknown(text.to_owned())),
        })
    }
}

impl fmt::Display for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.pad("SUCCESS"),
            Self::SuccessRepeated => f.pad("SUCCESS_"),
            Self::Exited(code) => f.pad(&format!("SUCCESS_{code}")),
            Self::ExitCode(code) => f.pad(&format!("EXIT_CODE_{code}")),
            Self::Named(code) => f.pad(code.as_str()),
            Self::Unknown(text) => f.pad(text),
        }
    }
}

text_form!(ResultCode, "ResultCode", "^.{1,255}$");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_code_of_the_reference_is_known() {
        let numbered = [
            "SUCCESS",
            "SUCCESS_",
            "SUCCESS_0",
            "SUCCESS_255",
            "EXIT_CODE_1603",
            "EXIT_CODE_-1073741819",
        ];
        for text in numbered
            .into_iter()
            .chain(NamedCode::ALL.iter().map(|code| code.as_str()))
        {
            let code: ResultCode = text.parse().unwrap();
            assert!(!matches!(code, ResultCode::Unknown(_)), "{text}");
            assert_eq!(code.to_string(), text);
        }
    }

    #[test]
    fn an_exit_code_succeeds_only_if_it_is_a_success_code() {
        let check = |text: &str, expected: Outcome| {
            let code: ResultCode = text.parse().unwrap();
            assert_eq!(code.outcome(&BTreeSet::from([0, 5])), expected, "{text}");
        };
        for text in [
            "SUCCESS",
            "SUCCESS_",
            "SUCCESS_0",
            "SUCCESS_5",
            "SUCCESS_ALREADY_SETUP",
            "SUCCESS_REBOOT_REQUIRED",
            "SUCCESS_NEW",
        ] {
            check(text, Outcome::Succeeded);
        }
        for text in [
            "SUCCESS_3",
            "EXIT_CODE_1603",
            "ERR_EXECUTE",
            "UNKNOWN_CODE",
            "whatever",
        ] {
            check(text, Outcome::Failed);
        }
        check("CANCELLED", Outcome::Cancelled);
        check("ERR_WRONG_PLATFORM", Outcome::NotApplicable);
    }

    #[test]
    fn error_messages() {
        insta::assert_snapshot!("".parse::<ResultCode>().unwrap_err(), @"a result code has 1 to 255 bytes and no control characters; this text has 0 bytes");
    }

    proptest! {
        #[test]
        fn codes_are_written_as_they_were_read(text in "[!-~]{1,40}|SUCCESS_[+-]?[0-9]{0,12}|EXIT_CODE_[+-]?0?[0-9]{0,12}") {
            prop_assert_eq!(text.parse::<ResultCode>().unwrap().to_string(), text);
        }
    }
}
