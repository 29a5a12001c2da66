//! `packcast agent-config`: prints the configuration of the agents of a target.

use std::path::PathBuf;

use packcast_local::LocalState;
use packcast_protocol::api::Secret;
use packcast_publisher::agent_config::{AgentConfig, DeviceCa, DeviceSystem, ServerAddress};
use packcast_publisher::enrolment::enrolment_token;
use packcast_publisher::target::LOCAL;
use packcast_publisher::{Failure, Places, Target};
use serde::Serialize;

use crate::Globals;
use crate::local_target;
use crate::output;
use crate::places;

/// Print the configuration of a Packcast agent
///
/// Prints a complete agent.toml for the devices of the target: the address of the check-in
/// function, the trust line, the state folder, and the file of the enrolment token. Write it to
/// /etc/packcast/agent.toml on a device, or to C:\ProgramData\Packcast\agent.toml on Windows. The
/// file has no secret. A device needs the enrolment token for its first check-in: write the token
/// to its file, which only the agent's user may read. 'packcast token' creates a token for a
/// limited number of devices.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast agent-config > agent.toml
  packcast agent-config --target prod --server https://packcast.example.net
  packcast agent-config --target prod --windows")]
pub(crate) struct Args {
    /// Address at which the devices check in, with 'https://'
    ///
    /// The default is the address of the running local system, or 'server' in the target's section
    /// of packcast.toml.
    #[arg(long, value_name = "URL")]
    server: Option<ServerAddress>,
    /// Print the paths of an agent on Windows
    #[arg(long)]
    windows: bool,
    /// Also print the enrolment token, which is a secret
    ///
    /// The token enrols any number of devices.
    #[arg(long)]
    with_token: bool,
    /// Read the token from this file instead of the target's secrets
    ///
    /// The secrets of a stack are in NAME.secrets beside packcast.toml, on the machine that deployed
    /// the stack.
    #[arg(long, value_name = "FILE", requires = "with_token")]
    secrets: Option<PathBuf>,
}

/// A configuration, and the token for the first check-in.
#[derive(Serialize)]
struct Printed {
    config: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    enrolment_token: Option<Secret>,
}

impl Args {
    pub(crate) fn run(self, globals: &Globals) -> Result<(), Failure> {
        let places = places::find()?;
        let system = if self.windows {
            DeviceSystem::Windows
        } else {
            DeviceSystem::Unix
        };
        let config = config(globals, &places, self.server.clone(), system)?;
        let file = self
            .secrets
            .unwrap_or_else(|| places.secrets_file(&globals.target));
        let printed = Printed {
            config: config.to_toml(),
            enrolment_token: self
                .with_token
                .then(|| enrolment_token(&file))
                .transpose()?,
        };
        output::result(globals.format, &printed, text);
        Ok(())
    }
}

/// Returns the configuration of the devices of the target. `server` is the address that the person has
/// passed.
pub(super) fn config(
    globals: &Globals,
    places: &Places,
    server: Option<ServerAddress>,
    system: DeviceSystem,
) -> Result<AgentConfig, Failure> {
    let name = &globals.target;
    let (known_server, ca, enrolment_token_file) = if name == LOCAL {
        let state = local_target::state(&places.local())?;
        let server = address(&state)?;
        let ca = DeviceCa::ThisMachine(state.ca_file);
        (Some(server), Some(ca), Some(state.enrolment_token_file))
    } else {
        let config = globals.config.as_deref();
        let (server, ca) = Target::check_in_address(name, config, places)?;
        (server, ca.map(DeviceCa::CopyOf), None)
    };
    let server = server.or(known_server);
    Ok(AgentConfig {
        target: name.clone(),
        server: server.ok_or_else(|| no_server(name))?,
        trust: Target::present_trust(name, places)?,
        system,
        enrolment_token_file,
        ca,
    })
}

fn address(state: &LocalState) -> Result<ServerAddress, Failure> {
    let address = format!("https://{}", state.edge).parse();
    address.map_err(Failure::failed)
}

fn no_server(target: &str) -> Failure {
    Failure::usage(format!(
        "cannot find the address at which devices of target {target} check in"
    ))
    .hint(format!(
        "pass it with --server, or add server to the section [target.{target}] of packcast.toml"
    ))
}

fn text(printed: &Printed) -> String {
    let config = printed.config.trim_end();
    match &printed.enrolment_token {
        None => config.to_owned(),
        Some(token) => format!(
            "{config}\n\n# Write this secret to the file in enrolment_token_file, and remove these lines:\n# {}",
            token.reveal()
        ),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn the_token_is_printed_after_the_configuration() {
        let printed = Printed {
            config: "server = \"https://a\"\n".to_owned(),
            enrolment_token: Some("abcdefghijklmnop".parse().unwrap()),
        };
        assert_snapshot!(text(&printed), @r#"
        server = "https://a"

        # Write this secret to the file in enrolment_token_file, and remove these lines:
        # abcdefghijklmnop
        "#);
        let without = Printed {
            enrolment_token: None,
            ..printed
        };
        assert_snapshot!(text(&without), @r#"server = "https://a""#);
        assert_snapshot!(no_server("prod"), @"
        cannot find the address at which devices of target prod check in
        hint: pass it with --server, or add server to the section [target.prod] of packcast.toml
        ");
    }
}
