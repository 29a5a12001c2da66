//! `packcast log`: lists the changes of a target.

use packcast_protocol::{GroupName, PackageRef};
use packcast_publisher::Failure;
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::log::{
    self, LogEntry, LogRequest, LoggedCommit, LoggedEvent, LoggedStanding, NEWEST_CHANGES,
};

use crate::Globals;
use crate::output;

/// Number of changes that the text shows of one commit.
const SHOWN_CHANGES: usize = 10;

/// List the changes of a target: who changed what, and when
///
/// The newest change comes first. Changes of assignments, groups and locations are signed commits.
/// Number, time, key and changes of a commit are verified; author and command are not.
/// Other changes, such as 'activate', 'pause --all' and 'device block', are events. They are not signed:
/// somebody who can write to the table can forge and delete them. Creating a token leaves no trace.
/// The exit code is 3 if a commit does not verify, or an event cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast log
  packcast log --limit 5 --format json
  packcast log --signed
  packcast log --before 1795327754
  packcast log --group lab --package vlc@3.0.21
  packcast log --device web01")]
pub(crate) struct Args {
    /// List only this many changes
    ///
    /// The default is 20 for text; JSON and CSV have all changes.
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// List only commits before this number, and events before this Unix time
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
    /// List only commits, which are signed, and no events
    #[arg(long)]
    signed: bool,
    /// List only changes of this package: its id, or name@version
    #[arg(long, value_name = "PACKAGE")]
    package: Option<PackageRef>,
    /// List only changes of this group
    #[arg(long, value_name = "GROUP")]
    group: Option<GroupName>,
    /// List only changes of this device: its id, or a host name that no other device has
    #[arg(long, value_name = "DEVICE")]
    device: Option<DeviceName>,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let request = LogRequest {
            limit: globals.limit(self.limit, NEWEST_CHANGES),
            before: self.before,
            after: None,
            is_signed_only: self.signed,
            package: self.package,
            group: self.group,
            device: self.device,
            most_reads: None,
        };
        let log = log::log(&target, &request).await?;
        output::result(globals.format, &log, |log| all_text(&log.entries));
        log.conclude()
    }
}

fn all_text(entries: &[LogEntry]) -> String {
    let blocks = entries.iter().map(|entry| match entry {
        LogEntry::Commit(commit) => block(commit),
        LogEntry::Event(event) => event_block(event),
    });
    blocks.collect::<Vec<_>>().join("\n")
}

pub(super) fn text(commits: &[LoggedCommit]) -> String {
    let blocks: Vec<String> = commits.iter().map(block).collect();
    blocks.join("\n")
}

/// Writes a commit as lines that fit on a terminal of 80 columns, except for long names.
fn block(commit: &LoggedCommit) -> String {
    let mut words = vec![commit.number.to_string()];
    words.extend(commit.issued.map(output::time));
    if let Some(about) = &commit.about {
        words.push(format!("{}@{}", about.author, about.host));
    }
    words.extend(commit.key.as_ref().map(|key| format!("key {}", short(key))));
    if commit.standing == LoggedStanding::Replaced {
        words.push("(replaced)".to_owned());
    }
    let mut lines = vec![words.join("  ")];
    if let Some(about) = &commit.about {
        let texts = [&about.command, &about.note];
        let texts = texts.into_iter().filter(|text| !text.is_empty());
        lines.extend(texts.map(|text| format!("    {text}")));
    }
    lines.extend(commit.problem.iter().map(|it| format!("  problem: {it}")));
    let shown = commit.lines.iter().take(SHOWN_CHANGES);
    lines.extend(shown.map(|line| format!("  {line}")));
    if let Some(rest) = more(commit) {
        lines.push(rest);
    }
    let lines = lines.iter().map(|line| output::printable(line));
    lines.map(|line| line + "\n").collect()
}

/// Writes an event with the mark "unsigned" in the place of the number of a commit.
fn event_block(event: &LoggedEvent) -> String {
    let mut words = vec![format!("{:10}", "unsigned"), output::time(event.issued)];
    if !(event.author.is_empty() && event.host.is_empty()) {
        words.push(format!("{}@{}", event.author, event.host));
    }
    let mut lines = vec![words.join("  ")];
    lines.extend(event.problem.iter().map(|it| format!("  problem: {it}")));
    lines.extend(event.lines.iter().map(|line| format!("  {line}")));
    let lines = lines.iter().map(|line| output::printable(line));
    lines.map(|line| line + "\n").collect()
}

/// Returns the last characters of a key, which also name its file after a rotation.
fn short(key: &impl ToString) -> String {
    let key = key.to_string();
    let start = key.len().saturating_sub(6);
    key.get(start..).unwrap_or_default().to_owned()
}

fn more(commit: &LoggedCommit) -> Option<String> {
    let others = commit.lines.len().saturating_sub(SHOWN_CHANGES);
    let changes = if others == 1 { "change" } else { "changes" };
    let shown_by = match commit.parent {
        Some(parent) => format!("'packcast diff {} {}'", parent.number, commit.number),
        None => "--format json".to_owned(),
    };
    (others > 0).then(|| format!("  and {others} other {changes}: {shown_by} shows all"))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_protocol::state::CommitId;
    use packcast_protocol::{Sha256Digest, UnixTime};
    use packcast_publisher::log::{CommitAbout, EventStanding};

    use super::*;
    use crate::fixtures::{KEY, NOON};
    use packcast_rollout::EventTime;

    fn id(number: u64) -> CommitId {
        CommitId {
            number,
            digest: Sha256Digest::of(b"commit"),
        }
    }

    fn commit() -> LoggedCommit {
        LoggedCommit {
            number: NOON,
            commit: id(NOON),
            parent: Some(id(NOON - 5)),
            issued: Some(UnixTime(NOON)),
            key: Some(KEY.parse().unwrap()),
            about: Some(CommitAbout {
                author: "ada".to_owned(),
                host: "laptop".to_owned(),
                command: "packcast assign vlc@3.0.21 --group lab".to_owned(),
                note: String::new(),
            }),
            standing: LoggedStanding::Verified,
            problem: None,
            changes: Vec::new(),
            lines: vec!["group lab: assigned vlc@3.0.21".to_owned()],
            is_left_out: false,
        }
    }

    #[test]
    fn commits_are_listed_with_their_changes() {
        let many = (0..12).map(|n| format!("group lab: assigned tool@{n}"));
        let large = LoggedCommit {
            lines: many.collect(),
            ..commit()
        };
        let replaced = LoggedCommit {
            standing: LoggedStanding::Replaced,
            ..commit()
        };
        let lost = LoggedCommit {
            issued: None,
            key: None,
            about: None,
            standing: LoggedStanding::Unverified,
            problem: Some("the table has no commit".to_owned()),
            lines: Vec::new(),
            ..commit()
        };
        assert_snapshot!(text(&[commit(), large, replaced, lost]), @"
        1795000000  2026-11-18 11:06:40 UTC  ada@laptop  key Y7GFO3
            packcast assign vlc@3.0.21 --group lab
          group lab: assigned vlc@3.0.21

        1795000000  2026-11-18 11:06:40 UTC  ada@laptop  key Y7GFO3
            packcast assign vlc@3.0.21 --group lab
          group lab: assigned tool@0
          group lab: assigned tool@1
          group lab: assigned tool@2
          group lab: assigned tool@3
          group lab: assigned tool@4
          group lab: assigned tool@5
          group lab: assigned tool@6
          group lab: assigned tool@7
          group lab: assigned tool@8
          group lab: assigned tool@9
          and 2 other changes: 'packcast diff 1794999995 1795000000' shows all

        1795000000  2026-11-18 11:06:40 UTC  ada@laptop  key Y7GFO3  (replaced)
            packcast assign vlc@3.0.21 --group lab
          group lab: assigned vlc@3.0.21

        1795000000
          problem: the table has no commit
        ");
    }

    #[test]
    fn events_are_marked_as_unsigned() {
        let event = LoggedEvent {
            issued: UnixTime(NOON),
            at: EventTime::of_second(UnixTime(NOON)),
            author: "ada".to_owned(),
            host: "laptop".to_owned(),
            standing: EventStanding::Unsigned,
            problem: None,
            changes: Vec::new(),
            lines: vec!["activated vlc@3.0.21 at cdn".to_owned()],
        };
        let hostile = LoggedEvent {
            lines: vec!["activated \u{1b}[2J".to_owned()],
            ..event.clone()
        };
        let unreadable = LoggedEvent {
            author: String::new(),
            host: String::new(),
            problem: Some("cannot read record EVENT 1".to_owned()),
            lines: Vec::new(),
            ..event.clone()
        };
        let entries = [
            LogEntry::Event(event),
            LogEntry::Commit(Box::new(commit())),
            LogEntry::Event(hostile),
            LogEntry::Event(unreadable),
        ];
        assert_snapshot!(all_text(&entries), @r"
        unsigned    2026-11-18 11:06:40 UTC  ada@laptop
          activated vlc@3.0.21 at cdn

        1795000000  2026-11-18 11:06:40 UTC  ada@laptop  key Y7GFO3
            packcast assign vlc@3.0.21 --group lab
          group lab: assigned vlc@3.0.21

        unsigned    2026-11-18 11:06:40 UTC  ada@laptop
          activated \u{1b}[2J

        unsigned    2026-11-18 11:06:40 UTC
          problem: cannot read record EVENT 1
        ");
    }
}
