//! Result codes in words, for people.

use std::borrow::Cow;

use super::{NamedCode, ResultCode};

impl ResultCode {
    /// Returns the meaning of the code in words, or `None` if it needs no words or is unknown.
    ///
    /// A Unix agent reports a program that failed with exit code 3 as `SUCCESS_3`, so the words are
    /// the same as for `EXIT_CODE_3` (protocol reference §8, item 8).
    pub fn meaning(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Exited(code) | Self::ExitCode(code) => {
                Some(format!("ran, exit code {code}").into())
            }
            Self::SuccessRepeated => {
                Some("ran, and the exit code was lost with the first report".into())
            }
            Self::Named(code) => code.meaning().map(Cow::Borrowed),
            Self::Success | Self::Unknown(_) => None,
        }
    }
}

impl NamedCode {
    const fn meaning(self) -> Option<&'static str> {
        Some(match self {
            Self::AlreadySetup | Self::AlreadyInHistory => "the device already had the package",
            Self::RebootInitiated => "done, and the program restarts the machine",
            Self::RebootRequired | Self::RestartRequired => {
                "done, and the machine must be restarted"
            }
            Self::BadId => "info belongs to another package",
            Self::DownloadInfo => "info could not be fetched",
            Self::DownloadPack => "a fragment could not be fetched",
            Self::BadDigest => "the archive is not the one that was published",
            Self::Build => "the fragments do not form an archive that can be unpacked",
            Self::Unzip => "the archive cannot be unpacked",
            Self::OutOfSpace => "the disk has too little space",
            Self::Execute => "the program could not be run, or failed",
            Self::ExecuteNoExitCode => "the program crashed, or its exit code was lost",
            Self::ExecuteTimeout => "the program ran for too long",
            Self::ExecuteTooManyTry => "the program was started five times and never finished",
            Self::BadParam => "the agent does not know the action, or lacks its command or folder",
            Self::Aborted => "refused by the person at the device",
            Self::Timeout => "the package was not done within the agent's time limit",
            Self::Clean => "the agent could not remove its files",
            Self::DoneFailed => "the agent lost the result",
            Self::AlreadyInHistoryError => {
                "the device already had the package, according to an older server"
            }
            Self::UnknownCode => "the agent gave no result",
            Self::BadManifest => "the manifest is not the announced one",
            Self::BadSignature => "no key that the device trusts has signed the manifest",
            Self::Expired => "the package has expired",
            Self::WrongAudience => "the package is for other devices",
            Self::GoingBack => "the device has a later package of the same name",
            Self::WrongPlatform => "the package is for another platform",
            Self::UnsafeArchive => "the archive would write outside its folder, or exceed its size",
            Self::Signal => "a signal ended the program",
            Self::Interrupted => "the agent was stopped while the program ran",
            Self::Store => "the files could not be put into their folder",
            Self::NotAssigned => "no assignment that the publisher signed names the package",
            Self::AssignmentExpired => "the publisher's signature of the assignment has expired",
            Self::Cancelled => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_have_the_same_meaning_for_every_agent() {
        let check = |text: &str, expected: Option<&str>| {
            let code: ResultCode = text.parse().unwrap();
            assert_eq!(code.meaning().as_deref(), expected, "{text}");
        };
        check("SUCCESS_3", Some("ran, exit code 3"));
        check("EXIT_CODE_-1", Some("ran, exit code -1"));
        check("ERR_UNZIP", Some("the archive cannot be unpacked"));
        check("SUCCESS", None);
        check("CANCELLED", None);
        check("ERR_OF_TOMORROW", None);
    }

    #[test]
    fn every_named_code_in_words() {
        let lines = NamedCode::ALL
            .iter()
            .filter_map(|code| Some(format!("{}: {}", code.as_str(), code.meaning()?)));
        let lines: Vec<String> = lines.collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        SUCCESS_ALREADY_SETUP: the device already had the package
        SUCCESS_ALREADY_IN_HISTORY: the device already had the package
        SUCCESS_REBOOT_INITIATED: done, and the program restarts the machine
        SUCCESS_REBOOT_REQUIRED: done, and the machine must be restarted
        SUCCESS_RESTART_REQUIRED: done, and the machine must be restarted
        ERR_BAD_ID: info belongs to another package
        ERR_DOWNLOAD_INFO: info could not be fetched
        ERR_DOWNLOAD_PACK: a fragment could not be fetched
        ERR_BAD_DIGEST: the archive is not the one that was published
        ERR_BUILD: the fragments do not form an archive that can be unpacked
        ERR_UNZIP: the archive cannot be unpacked
        ERR_OUT_OF_SPACE: the disk has too little space
        ERR_EXECUTE: the program could not be run, or failed
        ERR_EXECUTE_NO_EXIT_CODE: the program crashed, or its exit code was lost
        ERR_EXECUTE_TIMEOUT: the program ran for too long
        ERR_EXECUTE_TOO_MANY_TRY: the program was started five times and never finished
        ERR_BAD_PARAM: the agent does not know the action, or lacks its command or folder
        ERR_ABORTED: refused by the person at the device
        ERR_TIMEOUT: the package was not done within the agent's time limit
        ERR_CLEAN: the agent could not remove its files
        ERR_DONE_FAILED: the agent lost the result
        ERR_ALREADY_IN_HISTORY: the device already had the package, according to an older server
        UNKNOWN_CODE: the agent gave no result
        ERR_BAD_MANIFEST: the manifest is not the announced one
        ERR_BAD_SIGNATURE: no key that the device trusts has signed the manifest
        ERR_EXPIRED: the package has expired
        ERR_WRONG_AUDIENCE: the package is for other devices
        ERR_GOING_BACK: the device has a later package of the same name
        ERR_WRONG_PLATFORM: the package is for another platform
        ERR_UNSAFE_ARCHIVE: the archive would write outside its folder, or exceed its size
        ERR_SIGNAL: a signal ended the program
        ERR_INTERRUPTED: the agent was stopped while the program ran
        ERR_STORE: the files could not be put into their folder
        ERR_NOT_ASSIGNED: no assignment that the publisher signed names the package
        ERR_ASSIGNMENT_EXPIRED: the publisher's signature of the assignment has expired
        ");
    }
}
