//! `packcast publish-agent`: publishes builds of the agent, which update it on devices.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

use packcast_protocol::agent_build::{
    AGENT_PACKAGE, AgentVersion, BuildPlatform, BuildPlatformError,
};
use packcast_protocol::manifest::Audience;
use packcast_protocol::{Priority, WindowsTerms};
use packcast_publisher::Failure;
use packcast_publisher::publish::agent_builds::{AgentBuild, collect_builds};
use packcast_publisher::publish::plan::{ActionName, PackageTerms, PublishRequest};

use super::key_arg::KeyArg;
use super::publish::{Planned, open_target, read};
use crate::Globals;

/// Publish builds of the Packcast agent, which update it on devices
///
/// The package has the name packcast-agent, and is assigned and rolled out like any other. Pass the
/// program of each platform of the fleet: one package, and one rollout, cover a mixed fleet. A device
/// without a build for its platform reports that the package does not apply to it.
///
/// A device keeps the version that works, and tries the new one. The device reports a success after
/// the new version has checked in and completed its first round. If the new version ends three times
/// before that, or does not check in within ten minutes with a reachable server, the device goes back
/// and reports a failure.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast publish-agent packcast-agent packcast-agent.exe \\
      --version 1.4.2 --activate
  packcast rollout start packcast-agent@1.4.2 --all")]
pub(crate) struct Args {
    /// Program of the agent for one platform (repeatable)
    ///
    /// The program names its platform. Pass PLATFORM=FILE, such as linux-x86_64=FILE, for a file that
    /// is no program for Linux, Windows or macOS, such as a script.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<BuildArg>,
    /// Version of these builds, as 'packcast-agent --version' prints it
    ///
    /// A device whose installed agent has this version or a later one keeps that agent.
    #[arg(long = "version", value_name = "VERSION")]
    agent_version: AgentVersion,
    /// Priority from 0, which is deployed first, to 10
    #[arg(long, default_value_t = Priority::DEFAULT)]
    priority: Priority,
    #[command(flatten)]
    key: KeyArg,
    /// Activate the package at all locations after the publication
    #[arg(long)]
    activate: bool,
}

/// A file, or `PLATFORM=FILE`.
#[derive(Clone, Debug)]
struct BuildArg(AgentBuild);

impl FromStr for BuildArg {
    type Err = BuildPlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let build = |path: &str, platform: Option<BuildPlatform>| {
            let path = PathBuf::from(path);
            Self(AgentBuild { path, platform })
        };
        match text.split_once('=') {
            // A path may contain the sign, too.
            Some((platform, path)) if !platform.contains(['/', '\\']) => {
                Ok(build(path, Some(platform.parse()?)))
            }
            _ => Ok(build(text, None)),
        }
    }
}

/// The time limit in the manifest. No program runs, so it has no effect.
const TIMEOUT_S: u32 = 3_600;

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let builds: Vec<AgentBuild> = self.files.into_iter().map(|build| build.0).collect();
        let (source, platform) = collect_builds(&builds)?;
        let name = AGENT_PACKAGE.parse().map_err(Failure::usage)?;
        let version = self.agent_version.to_string();
        let version = version.parse().map_err(Failure::usage)?;
        let target = open_target(globals, self.activate).await?;
        let read = Box::pin(read(&target, (&name, &version), || Ok(source), None)).await?;
        let (source, inspection) = read.source;
        let request = PublishRequest {
            name,
            version,
            priority: self.priority,
            action: ActionName::Update,
            command: None,
            folder: None,
            terms: PackageTerms {
                platform,
                success_codes: BTreeSet::from([0]),
                reboot_codes: BTreeSet::new(),
                timeout_s: TIMEOUT_S,
                validity_s: None,
                rerun_after_interruption: false,
                audience: Audience::Any,
                windows: WindowsTerms::default(),
            },
        };
        let plan = request.plan(Some(&inspection))?;
        let planned = Planned {
            plan,
            source: Some(source),
            inspection: Some(inspection),
            activate: self.activate,
            for_ocs_agents: false,
        };
        Box::pin(planned.publish(target, globals, &self.key)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_have_a_platform() {
        let parse = |text: &str| {
            let parsed = text.parse::<BuildArg>().map(|build| build.0);
            parsed.map(|build| (build.path, build.platform.map(|it| it.to_string())))
        };
        let with = |platform: &str| Some(platform.to_owned());
        assert_eq!(parse("dist/a"), Ok(("dist/a".into(), None)));
        assert_eq!(
            parse("linux-x86_64=dist/a=b"),
            Ok(("dist/a=b".into(), with("linux-x86_64")))
        );
        assert_eq!(parse("./a=b"), Ok(("./a=b".into(), None)));
        assert!(parse("a=b").is_err());
    }
}
