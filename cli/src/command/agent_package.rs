//! `packcast agent-package`: publishes a package with which OCS agents install the Packcast agent.

use std::collections::BTreeSet;
use std::path::PathBuf;

use packcast_protocol::manifest::{Audience, Platform};
use packcast_protocol::{PackageName, PackageVersion, Priority, WindowsTerms};
use packcast_publisher::agent_config::{DeviceSystem, ServerAddress};
use packcast_publisher::agent_package::{AgentPackage, PROGRAM, ProxyAddress};
use packcast_publisher::clock::now;
use packcast_publisher::publish::plan::{ActionName, PackageTerms, PublishRequest};
use packcast_publisher::publish::source::Source;
use packcast_publisher::{Failure, Progress, text};

use super::agent_config;
use super::key_arg::KeyArg;
use super::publish::{Planned, interruptible, open_target, read};
use crate::Globals;
use crate::output::{self, Format};
use crate::places;

/// Time limit of the installation, in seconds.
const TIMEOUT_S: u32 = 3_600;

/// Publish a package with which OCS agents on Linux install the Packcast agent
///
/// The package contains the given packages of the agent, and a script that installs the one for the
/// computer, enrols the computer with the server and the trust line of the target, and starts the
/// service. The package is activated at all locations; assign it to devices with OCS agents. A second
/// run on a computer that has enrolled only upgrades the agent.
///
/// Everybody who can download the package can read the enrolment token in it. So the command accepts
/// only the token of a batch, which 'packcast token' creates.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast token --name ocs --devices 500 > enrolment-token
  packcast agent-package packcast-agent_0.1.0-1_amd64.deb \\
      packcast-agent-0.1.0-1.x86_64.rpm --token-file enrolment-token
  packcast assign packcast-agent-install@0.1.0-1 \
      --group office")]
pub(crate) struct Args {
    /// Packages of the agent (.deb and .rpm), at most one for each architecture and format
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// File with the enrolment token of a batch
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// Address at which the devices check in, with 'https://'
    ///
    /// The default is the address of the running local system, or 'server' in the target's section
    /// of packcast.toml.
    #[arg(long, value_name = "URL")]
    server: Option<ServerAddress>,
    /// Proxy of the devices, with 'http://'
    ///
    /// The devices keep the address in /etc/packcast/agent.env, unless they have this file already.
    /// Everybody who can download the package can read a password in the address.
    #[arg(long, value_name = "URL")]
    proxy: Option<ProxyAddress>,
    /// Package name
    #[arg(long, default_value = "packcast-agent-install")]
    name: PackageName,
    /// Package version, instead of the version in the names of the files
    ///
    /// A package with another token needs another version.
    #[arg(long = "version", value_name = "VERSION")]
    package_version: Option<PackageVersion>,
    /// Priority from 0, which is deployed first, to 10
    #[arg(long, default_value_t = Priority::DEFAULT)]
    priority: Priority,
    #[command(flatten)]
    key: KeyArg,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let places = places::find()?;
        let server = self.server.clone();
        let config = agent_config::config(globals, &places, server, DeviceSystem::Unix)?;
        let (files, token_file, proxy) = (self.files, self.token_file, self.proxy);
        let create = move |_: &Progress| {
            let package =
                AgentPackage::create(&files, &token_file, &config, proxy.as_ref(), now())?;
            let source = Source::open(package.folder(), Platform::Linux, None)?;
            Ok((package, source))
        };
        let (package, source) = interruptible(create).await?;
        let (name, version) = (self.name, self.package_version);
        let version = version.unwrap_or_else(|| package.version.clone());
        let target = open_target(globals, true).await?;
        let read = Box::pin(read(&target, (&name, &version), || Ok(source), None)).await?;
        let (source, inspection) = read.source;
        let request = PublishRequest {
            name,
            version,
            priority: self.priority,
            action: ActionName::Launch,
            command: Some(PROGRAM.to_owned()),
            folder: None,
            terms: PackageTerms {
                platform: Platform::Linux,
                success_codes: BTreeSet::from([0]),
                reboot_codes: BTreeSet::new(),
                timeout_s: TIMEOUT_S,
                validity_s: None,
                rerun_after_interruption: true,
                audience: Audience::Any,
                windows: WindowsTerms::default(),
            },
        };
        let plan = request.plan(Some(&inspection))?;
        let named = format!("{}@{}", plan.name, plan.version);
        let planned = Planned {
            plan,
            source: Some(source),
            inspection: Some(inspection),
            activate: true,
            for_ocs_agents: true,
        };
        Box::pin(planned.publish(target, globals, &self.key)).await?;
        if globals.format == Format::Text {
            let batch = &package.batch;
            let assign = globals.command(&format!("assign {named} --group NAME"));
            output::note(&format!(
                "the token in the package (batch {}) enrols at most {} devices, until {}; assign the package to devices with OCS agents: {assign}",
                batch.id(),
                batch.devices(),
                text::time(batch.expires()),
            ));
        }
        Ok(())
    }
}
