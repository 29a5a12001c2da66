//! `packcast audit`: compares a target with its signed state.

use packcast_publisher::Failure;
use packcast_publisher::audit::{self, AuditReport, Finding};
use packcast_publisher::pause::words;

use super::key_arg::AcceptArg;
use crate::Globals;
use crate::output;
use crate::progress::Bar;

/// Check a target: history, keys, records, packages
///
/// Verifies every commit, signature and key list, reads every page of the signed state, compares the
/// records of groups, devices and locations with it, and verifies the manifest of each assigned
/// package. The command changes nothing in the target. It reads the record of every device.
///
/// The exit code is 0 if the command finds no problem, 3 if it finds one, and 1 or 75 if it cannot
/// check a part.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast audit
  packcast audit --format json")]
pub(crate) struct Args {
    #[command(flatten)]
    accept: AcceptArg,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let (also_accept, bar) = (self.accept.also_accept(), Bar::new());
        let report = audit::audit(&target, &also_accept.0, &bar.progress()).await?;
        output::warn(&report.warnings);
        output::result(globals.format, &report, text);
        report.conclude()
    }
}

fn text(report: &AuditReport) -> String {
    let head = report.head.map(|head| head.number.to_string());
    let mut text = output::fields([
        ("head", head.unwrap_or_else(|| "none".to_owned())),
        ("commits", report.commits.to_string()),
        ("groups", report.groups.to_string()),
        ("devices", report.devices.to_string()),
        ("locations", report.locations.to_string()),
        ("packages", report.packages.to_string()),
        (
            "paused",
            report.pause.as_ref().map(words).unwrap_or_default(),
        ),
        ("problems", report.findings.len().to_string()),
    ]);
    text.push_str(&listed(&report.findings));
    if !report.unwritten.is_empty() {
        text.push_str(
            "\nnot written yet: a command of the last hour is running, or was interrupted\n",
        );
        let lines = report
            .unwritten
            .iter()
            .map(|finding| format!("  {}\n", sentence(finding)));
        text.extend(lines);
    }
    text
}

/// Writes findings, each remedy once below the findings that it belongs to.
fn listed(findings: &[Finding]) -> String {
    let mut text = String::new();
    for group in findings.chunk_by(|one, next| one.remedy() == next.remedy()) {
        text.push('\n');
        for finding in group {
            text.push_str(&sentence(finding));
            text.push('\n');
        }
        if let Some(first) = group.first() {
            text.push_str("  remedy: ");
            text.push_str(first.remedy());
            text.push('\n');
        }
    }
    text
}

fn sentence(finding: &Finding) -> String {
    output::printable(&packcast_protocol::with_causes(finding))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_protocol::Sha256Digest;
    use packcast_protocol::state::{CommitId, LeafName};
    use packcast_publisher::state::{DifferenceKind, RecordDifference};

    use super::*;
    use crate::fixtures::{self, NOON};

    #[test]
    fn findings_are_sentences_with_remedies() {
        let record = |kind| {
            let leaf = LeafName::Group("lab".parse().unwrap());
            Finding::Record(RecordDifference { leaf, kind })
        };
        let package = fixtures::id();
        let commit = CommitId {
            number: NOON,
            digest: Sha256Digest::of(b"commit"),
        };
        let report = AuditReport {
            head: Some(commit),
            commits: 12,
            groups: 3,
            devices: 240,
            locations: 1,
            packages: 4,
            pause: Some(fixtures::pause()),
            findings: vec![
                Finding::Unfinished { commit },
                record(DifferenceKind::Package(package)),
                record(DifferenceKind::Settings),
            ],
            unwritten: vec![record(DifferenceKind::Members)],
            warnings: Vec::new(),
        };
        assert_snapshot!(text(&report), @"
        head       1795000000
        commits    12
        groups     3
        devices    240
        locations  1
        packages   4
        paused     since 2026-11-18 11:06:40 UTC, by mia on desk
        problems   3

        this machine has signed commit 1795000000-9505cacb7c710ed17125fcc6cb3669e8ddca6c8cd8af6a31f6b3cd64604c3098, which is not the head yet
          remedy: run the interrupted command again: it completes the commit

        group/lab: its entry under package 1795327754 is missing or left over
        group/lab: packages or settings differ
          remedy: devices with a Packcast agent follow the signed state; find out who can write to the table, then run 'packcast sign --all-records'

        not written yet: a command of the last hour is running, or was interrupted
          group/lab: other devices are members
        ");
        assert_snapshot!(text(&AuditReport::default()), @"
        head       none
        commits    0
        groups     0
        devices    0
        locations  0
        packages   0
        problems   0
        ");
    }
}
