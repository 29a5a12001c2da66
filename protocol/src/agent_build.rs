//! Builds of the Packcast agent: the package that carries them, and their versions.

use std::fmt;
use std::str::FromStr;

use crate::text_form::text_form;

/// The name of the packages that update the agent.
///
/// Their versions follow each other under one name, so that a lower version is a downgrade.
pub const AGENT_PACKAGE: &str = "packcast-agent";

/// Longest version and longest platform, in bytes.
const MAX_BYTES: usize = 64;

/// The version of an agent, such as `1.4.2`. Versions are ordered as <https://semver.org> says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentVersion(semver::Version);

/// Text that is not the version of an agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not the version of an agent: expected three numbers, such as 1.4.2")]
pub struct AgentVersionError {
    given: String,
}

impl FromStr for AgentVersion {
    type Err = AgentVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = (text.len() <= MAX_BYTES).then(|| semver::Version::parse(text).ok());
        parsed.flatten().map(Self).ok_or_else(|| AgentVersionError {
            given: text.chars().take(MAX_BYTES).collect(),
        })
    }
}

impl fmt::Display for AgentVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_form!(AgentVersion, "AgentVersion", r"^[0-9]+\.[0-9]+\.[0-9]+");

/// The platform of a build: operating system and architecture, such as `linux-x86_64`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildPlatform(String);

/// Text that is not the platform of a build.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a platform: expected the operating system and the architecture, such as linux-x86_64"
)]
pub struct BuildPlatformError {
    given: String,
}

impl BuildPlatform {
    /// Returns the operating system.
    pub fn system(&self) -> &str {
        self.0.split('-').next().unwrap_or_default()
    }

    /// Returns the path of the program in the archive of the package: a folder for each platform.
    pub fn path(&self) -> String {
        let end = if self.system() == "windows" {
            ".exe"
        } else {
            ""
        };
        format!("{}/{AGENT_PACKAGE}{end}", self.0)
    }
}

impl FromStr for BuildPlatform {
    type Err = BuildPlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_word = |word: &str| {
            let mut bytes = word.bytes();
            !word.is_empty() && bytes.all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        };
        let is_platform = text.len() <= MAX_BYTES
            && text
                .split_once('-')
                .is_some_and(|(system, architecture)| is_word(system) && is_word(architecture));
        is_platform
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| BuildPlatformError {
                given: text.chars().take(MAX_BYTES).collect(),
            })
    }
}

impl fmt::Display for BuildPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;

    fn version(text: &str) -> AgentVersion {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let ordered = ["0.9.0", "0.10.0-rc.1", "0.10.0", "0.10.1", "1.0.0"].map(version);
        assert!(ordered.is_sorted_by(|one, next| one < next));
        for text in [
            "",
            "1",
            "1.2",
            "v1.2.3",
            "1.2.3 ",
            &format!("1.2.{}", "3".repeat(64)),
        ] {
            assert!(text.parse::<AgentVersion>().is_err(), "{text}");
        }
        let json = serde_json::to_string(&version("1.2.3")).unwrap();
        assert_eq!(json, r#""1.2.3""#);
        assert_eq!(
            serde_json::from_str::<AgentVersion>(&json).unwrap(),
            version("1.2.3")
        );
    }

    #[test]
    fn each_platform_has_a_program_of_its_own() {
        let path = |text: &str| text.parse::<BuildPlatform>().unwrap().path();
        assert_eq!(path("linux-x86_64"), "linux-x86_64/packcast-agent");
        assert_eq!(path("windows-x86_64"), "windows-x86_64/packcast-agent.exe");
        for text in [
            "",
            "linux",
            "linux-",
            "-x",
            "Linux-x86_64",
            "../x-y",
            "a-b/c",
            "a-b-c",
        ] {
            assert!(text.parse::<BuildPlatform>().is_err(), "{text}");
        }
    }

    #[test]
    fn error_messages() {
        insta::assert_snapshot!(messages([
            "v1".parse::<AgentVersion>().unwrap_err(),
        ]), @r#""v1" is not the version of an agent: expected three numbers, such as 1.4.2"#);
        insta::assert_snapshot!(messages([
            "linux".parse::<BuildPlatform>().unwrap_err(),
        ]), @r#""linux" is not a platform: expected the operating system and the architecture, such as linux-x86_64"#);
    }
}
