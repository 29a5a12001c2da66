//! The device of the demo: this program, started again as an agent.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use packcast_agent::event::Event;
use packcast_local::LocalState;
use packcast_protocol::state::TrustedRoots;
use packcast_protocol::{DeviceId, ResultCode};
use packcast_publisher::Failure;
use packcast_publisher::signing::{KEY_VARIABLE, PASSPHRASE_VARIABLE};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::steps::Steps;
use crate::output;

/// The largest number of fragments that are shown one by one.
const SHOWN_FRAGMENTS: u32 = 8;

/// An agent with its own configuration and state.
#[derive(Debug)]
pub(super) struct Device {
    program: PathBuf,
    config: PathBuf,
}

#[derive(Serialize)]
struct Config<'a> {
    server: String,
    state_dir: PathBuf,
    enrolment_token_file: PathBuf,
    trust: &'a TrustedRoots,
    ca_file: &'a Path,
}

impl Device {
    /// Creates a device with the configuration that an administrator would give to its agent.
    pub(super) fn create(
        place: &Path,
        state_dir: &Path,
        trust: &TrustedRoots,
    ) -> Result<Self, Failure> {
        let state = LocalState::load(state_dir).map_err(Failure::failed)?;
        let folder = place.join("device");
        std::fs::create_dir(&folder).map_err(Failure::failed)?;
        let config = Config {
            server: format!("https://{}", state.edge),
            state_dir: folder.join("state"),
            enrolment_token_file: state.enrolment_token_file.clone(),
            trust,
            ca_file: &state.ca_file,
        };
        let file = folder.join("agent.toml");
        std::fs::write(&file, toml::to_string(&config).map_err(Failure::failed)?)
            .map_err(Failure::failed)?;
        Ok(Self {
            program: std::env::current_exe().map_err(Failure::failed)?,
            config: file,
        })
    }

    /// Lets the agent check in for the first time, and returns its device id.
    pub(super) async fn enrol(&self) -> Result<DeviceId, Failure> {
        #[derive(Deserialize)]
        struct Identity {
            device: DeviceId,
        }
        finish(self.start(&["run", "--once"])?).await?;
        let output = self
            .command(&["id"])
            .output()
            .await
            .map_err(Failure::failed)?;
        let identity: Identity = serde_json::from_slice(&output.stdout).map_err(Failure::failed)?;
        Ok(identity.device)
    }

    /// Lets the agent check in again and deploy its tasks, and shows its events.
    pub(super) async fn deploy(&self, steps: &mut Steps) -> Result<(), Failure> {
        let mut agent = self.start(&["run", "--once"])?;
        let stdout = agent
            .stdout
            .take()
            .ok_or_else(|| Failure::failed("cannot read the output of the agent"))?;
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await.map_err(Failure::failed)? {
            let event = serde_json::from_str(&line).map_err(Failure::failed)?;
            show(&event, steps);
        }
        finish(agent).await
    }

    fn start(&self, arguments: &[&str]) -> Result<Child, Failure> {
        self.command(arguments).spawn().map_err(Failure::failed)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("agent")
            .args(["--format", "json", "--config"])
            .arg(&self.config)
            .args(arguments)
            .env("RUST_LOG", "warn")
            // The agent, and the programs that it runs, must not see the secrets of the publisher.
            .env_remove(KEY_VARIABLE)
            .env_remove(PASSPHRASE_VARIABLE)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

async fn finish(agent: Child) -> Result<(), Failure> {
    let output = agent.wait_with_output().await.map_err(Failure::failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "the agent ended with {}",
        output.status
    )))
}

fn show(event: &Event, steps: &mut Steps) {
    if let Some((step, detail)) = step(event) {
        steps.done(step, &detail);
    }
    if let Event::Finished {
        output_tail: Some(tail),
        ..
    } = event
    {
        for line in tail.lines() {
            output::data(&output_line(line));
        }
    }
}

/// Returns the step that an event shows, and the detail of the step; `None` if the demo does not
/// show the event.
fn step(event: &Event) -> Option<(&'static str, String)> {
    Some(match event {
        Event::CheckedIn { tasks, .. } => ("checked in", format!("packages to deploy: {tasks}")),
        Event::KeysFollowed { serial } => ("trusted", format!("the keys of key list {serial}")),
        Event::DocumentRefused { detail } => ("refused", detail.clone()),
        Event::ManifestVerified { name, version, .. } => (
            "trusted",
            format!("manifest of {name}@{version}: signature, digest and expiry are valid"),
        ),
        Event::FragmentVerified { n, of, bytes, .. } if *of <= SHOWN_FRAGMENTS || n == of => (
            "downloaded",
            format!(
                "fragment {n} of {of}, {}, its digest matches",
                output::bytes(*bytes)
            ),
        ),
        Event::CommitHeld { number } => ("trusted", format!("commit {number}")),
        Event::Waits { detail, .. } => ("waits", detail.clone()),
        Event::FragmentVerified { .. }
        | Event::CheckedInMeanwhile { .. }
        | Event::TargetChanged { .. }
        | Event::LocationSkipped { .. }
        | Event::StateDamaged { .. }
        | Event::ProgramFound { .. }
        | Event::IdentityConflict { .. }
        | Event::IdentityReplaced { .. } => return None,
        Event::ArchiveVerified { bytes, .. } => (
            "verified",
            format!("the whole archive of {}", output::bytes(*bytes)),
        ),
        Event::Unpacked { entries, bytes, .. } => (
            "unpacked",
            format!("{}, entries: {entries}", output::bytes(*bytes)),
        ),
        Event::Started { .. } => ("started", "the action of the package".to_owned()),
        Event::Finished {
            code,
            exit_code,
            detail,
            ..
        } => ("acted", result(code, *exit_code, detail.as_deref())),
        Event::Deferred { detail, .. } => ("postponed", detail.clone()),
        Event::Reported { accepted: true, .. } => {
            ("reported", "the function accepted the result".to_owned())
        }
        Event::Reported { .. } => ("reported", "not yet: the agent keeps the result".to_owned()),
    })
}

fn result(code: &ResultCode, exit_code: Option<i32>, detail: Option<&str>) -> String {
    let exit = exit_code.map_or_else(
        || code.to_string(),
        |exit| format!("exit code {exit} ({code} in the report)"),
    );
    let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
    format!("{exit}{detail}")
}

/// Formats a line of the program's output so that it appears below the details of the steps.
fn output_line(line: &str) -> String {
    format!("{:>9}  {:<11}  | {}", "", "", output::printable(line))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures;

    fn shown(events: Value) -> String {
        let events: Vec<Event> = fixtures::read(events);
        let steps = events.iter().filter_map(step);
        let lines: Vec<String> = steps
            .map(|(step, detail)| format!("{step:<11}  {detail}"))
            .collect();
        lines.join("\n")
    }

    #[test]
    fn every_event_has_a_step() {
        let id = fixtures::id();
        let events = json!([
            { "event": "checked_in", "tasks": 1, "next_check_in_s": 3600 },
            { "event": "keys_followed", "serial": 2 },
            { "event": "document_refused", "detail": "the signature does not verify" },
            { "event": "manifest_verified", "id": id, "name": "demo", "version": "1" },
            { "event": "fragment_verified", "id": id, "n": 1, "of": 4, "bytes": 1_048_576, "already": false },
            { "event": "fragment_verified", "id": id, "n": 5, "of": 40, "bytes": 1_048_576, "already": false },
            { "event": "fragment_verified", "id": id, "n": 40, "of": 40, "bytes": 1_000, "already": false },
            { "event": "archive_verified", "id": id, "bytes": 3_501_000 },
            { "event": "unpacked", "id": id, "entries": 2, "bytes": 3_500_200 },
            { "event": "started", "id": id },
            { "event": "finished", "id": id, "attempt": 1, "code": "SUCCESS_0", "exit_code": 0 },
            { "event": "finished", "id": id, "attempt": 1, "code": "ERR_EXECUTE", "detail": "no such program" },
            { "event": "deferred", "id": id, "detail": "the locations do not answer" },
            { "event": "reported", "id": id, "accepted": true },
            { "event": "reported", "id": id, "accepted": false },
        ]);
        assert_snapshot!(shown(events), @"
        checked in   packages to deploy: 1
        trusted      the keys of key list 2
        refused      the signature does not verify
        trusted      manifest of demo@1: signature, digest and expiry are valid
        downloaded   fragment 1 of 4, 1.00 MiB, its digest matches
        downloaded   fragment 40 of 40, 1000 B, its digest matches
        verified     the whole archive of 3.34 MiB
        unpacked     3.34 MiB, entries: 2
        started      the action of the package
        acted        exit code 0 (SUCCESS_0 in the report)
        acted        ERR_EXECUTE: no such program
        postponed    the locations do not answer
        reported     the function accepted the result
        reported     not yet: the agent keeps the result
        ");
        assert_snapshot!(output_line("hello"), @"                        | hello");
    }
}
