//! Result codes in words, for people.

use std::borrow::Cow;

use super::{NamedCode, ResultCode};

impl ResultCode {
    /// Returns the meaning of the code in words; `None` if the code says it all, or is unknown.
    ///
    /// A Unix agent reports a program that failed with 3 as `SUCCESS_3`, so the words are the
    /// same as for `EXIT_CODE_3` (protocol reference §8, item 8).
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
            Self::AlreadySetup | Self::AlreadyInHistory => "the device had it already",
            Self::RebootInitiated => "done, and the program restarts the machine",
            Self::RebootRequired | Self::RestartRequired => "done, and a restart is needed",
            Self::BadId => "info is not that of this package",
            Self::DownloadInfo => "info could not be fetched",
            Self::DownloadPack => "a fragment could not be fetched",
            Self::BadDigest => "the archive is not the one that was published",
            Self::Build => "the fragments make no archive that can be unpacked",
            Self::Unzip => "the archive cannot be unpacked",
            Self::OutOfSpace => "the disk has too little room",
            Self::Execute => "the program could not be run, or failed",
            Self::ExecuteNoExitCode => "the program crashed, or its exit code was lost",
            Self::ExecuteTimeout => "the program ran for too long",
            Self::ExecuteTooManyTry => "begun five times and never ended",
            Self::BadParam => "the agent does not know the action, or lacks its command or folder",
            Self::Aborted => "refused by the person at the device",
            Self::Timeout => "not done within the agent's time limit",
            Self::Clean => "the agent could not remove its files",
            Self::DoneFailed => "the agent lost the result",
            Self::AlreadyInHistoryError => "the device had it already, by an older server's word",
            Self::UnknownCode => "the agent gave no result",
            Self::BadManifest => "the manifest is not what was announced",
            Self::BadSignature => "the manifest is signed by nobody whom the device trusts",
            Self::Expired => "the package has expired",
            Self::WrongAudience => "the package is for other devices",
            Self::GoingBack => "the device has a later package of the same name",
            Self::WrongPlatform => "the package is for another platform",
            Self::UnsafeArchive => "the archive would write outside its folder, or beyond its size",
            Self::Signal => "the program was ended by a signal",
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
    fn exit_codes_read_the_same_for_every_agent() {
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
}
