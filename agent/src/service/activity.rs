//! The work of a running service, for people and for the service manager.

use std::collections::BTreeSet;
use std::fmt;

use packcast_protocol::{PackageId, PackageName, PackageVersion, UnixTime};
use serde::{Deserialize, Serialize};

use crate::event::Event;

/// The check-ins of a running service, and the package that it deploys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Activity {
    /// The time of the latest answered check-in of this process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_check_in: Option<UnixTime>,
    /// The error of the latest round, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
    /// The time of the next check-in. `None` while a round begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_check_in: Option<UnixTime>,
    /// `true` from the beginning of a round to its end.
    #[serde(default)]
    pub(crate) is_working: bool,
    /// The package under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) package: Option<PackageProgress>,
    /// `true` if the service ends after the package under way.
    #[serde(default)]
    pub(crate) is_stopping: bool,
}

/// The progress of one package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PackageProgress {
    pub(crate) id: PackageId,
    /// Unknown until the manifest is verified in this process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<PackageName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<PackageVersion>,
    pub(crate) step: ProgressStep,
    /// The number of verified fragments.
    #[serde(default)]
    pub(crate) fragments: u32,
    /// The number of fragments of the archive.
    #[serde(default)]
    pub(crate) of: u32,
    /// The time at which this step began.
    pub(crate) since: UnixTime,
    #[serde(skip)]
    seen: BTreeSet<u32>,
}

/// The steps of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProgressStep {
    Downloading,
    Verifying,
    Preparing,
    Running,
    /// A program of an earlier agent process still runs.
    Awaiting,
    /// A step of another version of the agent.
    #[serde(other)]
    Other,
}

impl Activity {
    /// Follows an event of the agent.
    pub(crate) fn observe(&mut self, event: &Event, now: UnixTime) {
        match event {
            Event::CheckedIn {
                next_check_in_s, ..
            }
            | Event::CheckedInMeanwhile { next_check_in_s } => {
                self.last_check_in = Some(now);
                self.failure = None;
                self.next_check_in = Some(now.plus((*next_check_in_s).into()));
            }
            Event::ManifestVerified { id, name, version } => {
                let mut package = PackageProgress::of(*id, ProgressStep::Downloading, now);
                package.name = Some(name.clone());
                package.version = Some(version.clone());
                self.package = Some(package);
            }
            Event::FragmentVerified { id, n, of, .. } => {
                let package = self.at_step(*id, ProgressStep::Downloading, now);
                package.seen.insert(*n);
                package.fragments = u32::try_from(package.seen.len()).unwrap_or(u32::MAX);
                package.of = *of;
                if package.fragments >= package.of {
                    self.at_step(*id, ProgressStep::Verifying, now);
                }
            }
            Event::ArchiveVerified { id, .. } | Event::Unpacked { id, .. } => {
                // The files of STORE are unpacked by its action.
                let runs = |package: &PackageProgress| package.step == ProgressStep::Running;
                if !self.package.as_ref().is_some_and(runs) {
                    self.at_step(*id, ProgressStep::Preparing, now);
                }
            }
            Event::Started { id } => {
                self.at_step(*id, ProgressStep::Running, now);
            }
            Event::ProgramFound { id, .. } => {
                self.at_step(*id, ProgressStep::Awaiting, now);
            }
            Event::Finished { id, .. } | Event::Deferred { id, .. } | Event::Waits { id, .. } => {
                self.package.take_if(|package| package.id == *id);
            }
            _ => {}
        }
    }

    /// Notes that a round begins.
    pub(crate) fn begin(&mut self) {
        self.is_working = true;
        self.next_check_in = None;
    }

    /// Notes the end of a round, with its error, and the time of the next one.
    pub(crate) fn end(&mut self, failure: Option<String>, next: UnixTime) {
        self.is_working = false;
        self.failure = failure;
        self.next_check_in = Some(next);
        self.package = None;
    }

    fn at_step(
        &mut self,
        id: PackageId,
        step: ProgressStep,
        now: UnixTime,
    ) -> &mut PackageProgress {
        let package = self
            .package
            .take()
            .filter(|package| package.id == id)
            .unwrap_or_else(|| PackageProgress::of(id, step, now));
        let package = self.package.insert(package);
        if package.step != step {
            package.step = step;
            package.since = now;
        }
        package
    }
}

impl PackageProgress {
    const fn of(id: PackageId, step: ProgressStep, since: UnixTime) -> Self {
        Self {
            id,
            name: None,
            version: None,
            step,
            fragments: 0,
            of: 0,
            since,
            seen: BTreeSet::new(),
        }
    }

    /// Returns the share of the verified fragments in percent.
    fn percent(&self) -> u64 {
        let of = u64::from(self.of.max(1));
        u64::from(self.fragments).min(of) * 100 / of
    }
}

impl fmt::Display for PackageProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.version) {
            (Some(name), Some(version)) => write!(f, "{name}@{version} ({}): ", self.id)?,
            _ => write!(f, "package {}: ", self.id)?,
        }
        match self.step {
            ProgressStep::Downloading if self.of == 0 => f.write_str("downloading"),
            ProgressStep::Downloading => write!(
                f,
                "downloading, fragments: {} of {}, {} %",
                self.fragments,
                self.of,
                self.percent()
            ),
            ProgressStep::Verifying => f.write_str("verifying the archive"),
            ProgressStep::Preparing => f.write_str("about to begin"),
            ProgressStep::Running => write!(f, "running since {}", self.since.utc()),
            ProgressStep::Awaiting => f.write_str(
                "waiting for its program, which still runs since an earlier start of the agent",
            ),
            ProgressStep::Other => f.write_str("under way"),
        }
    }
}

/// Shows the activity in one line, as service managers do.
impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_line(f, self.is_stopping)
    }
}

impl Activity {
    /// Returns the activity in one line, without a copy of it.
    pub(crate) fn line(&self, is_stopping: bool) -> String {
        let mut line = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_line(&mut line, is_stopping);
        line
    }

    fn write_line(&self, f: &mut impl fmt::Write, is_stopping: bool) -> fmt::Result {
        if is_stopping {
            f.write_str("Stopping after the package under way")?;
            return self
                .package
                .iter()
                .try_for_each(|package| write!(f, ": {package}"));
        }
        if let Some(package) = &self.package {
            return write!(f, "Deploying {package}");
        }
        let Some(next) = self.next_check_in else {
            return f.write_str("Checking in");
        };
        if self.is_working {
            return f.write_str("Working on the announced packages");
        }
        match (&self.failure, self.last_check_in) {
            (Some(failure), _) => write!(f, "Check-in failed: {failure}; ")?,
            (None, Some(last)) => write!(f, "Checked in {}, ", last.utc())?,
            (None, None) => {}
        }
        write!(f, "next check-in {}", next.utc())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn id(n: u32) -> PackageId {
        PackageId::try_from(1_795_000_000 + n).unwrap()
    }

    fn fragment(n: u32) -> Event {
        Event::FragmentVerified {
            id: id(1),
            n,
            of: 3,
            bytes: 1024,
            already: false,
        }
    }

    fn finished(n: u32) -> Event {
        Event::Finished {
            id: id(n),
            attempt: 1,
            code: "SUCCESS".parse().unwrap(),
            exit_code: None,
            detail: None,
            output_tail: None,
        }
    }

    #[test]
    fn each_step_of_a_round_is_a_readable_line() {
        let mut activity = Activity::default();
        activity.begin();
        let mut lines = vec![activity.to_string()];
        let events = [
            Event::CheckedIn {
                tasks: 1,
                next_check_in_s: 3600,
            },
            Event::ManifestVerified {
                id: id(1),
                name: "vlc".parse().unwrap(),
                version: "3.0".parse().unwrap(),
            },
            fragment(2),
            // A damaged fragment is fetched again.
            fragment(2),
            fragment(1),
            fragment(3),
            Event::ArchiveVerified {
                id: id(1),
                bytes: 3072,
            },
            Event::Started { id: id(1) },
            Event::CheckedInMeanwhile {
                next_check_in_s: 60,
            },
            finished(1),
            Event::ProgramFound {
                id: id(2),
                remaining_s: 60,
            },
        ];
        for (n, event) in (0..).zip(&events) {
            activity.observe(event, NOW.plus(n));
            lines.push(activity.to_string());
        }
        activity.is_stopping = true;
        lines.push(activity.to_string());
        activity.end(None, NOW);
        lines.push(activity.to_string());
        activity.is_stopping = false;
        activity.end(None, NOW.plus(60));
        lines.push(activity.to_string());
        activity.end(Some("cannot reach server".to_owned()), NOW.plus(300));
        lines.push(activity.to_string());
        insta::assert_snapshot!(lines.join("\n"), @"
        Checking in
        Working on the announced packages
        Deploying vlc@3.0 (1795000001): downloading
        Deploying vlc@3.0 (1795000001): downloading, fragments: 1 of 3, 33 %
        Deploying vlc@3.0 (1795000001): downloading, fragments: 1 of 3, 33 %
        Deploying vlc@3.0 (1795000001): downloading, fragments: 2 of 3, 66 %
        Deploying vlc@3.0 (1795000001): verifying the archive
        Deploying vlc@3.0 (1795000001): about to begin
        Deploying vlc@3.0 (1795000001): running since 2026-11-18 11:06:47 UTC
        Deploying vlc@3.0 (1795000001): running since 2026-11-18 11:06:47 UTC
        Working on the announced packages
        Deploying package 1795000002: waiting for its program, which still runs since an earlier start of the agent
        Stopping after the package under way: package 1795000002: waiting for its program, which still runs since an earlier start of the agent
        Stopping after the package under way
        Checked in 2026-11-18 11:06:48 UTC, next check-in 2026-11-18 11:07:40 UTC
        Check-in failed: cannot reach server; next check-in 2026-11-18 11:11:40 UTC
        ");
    }

    #[test]
    fn another_package_ends_no_package_under_way() {
        let mut activity = Activity::default();
        activity.observe(&Event::Started { id: id(1) }, NOW);
        activity.observe(&finished(2), NOW);
        assert_eq!(activity.package.as_ref().unwrap().id, id(1));
        activity.observe(&finished(1), NOW);
        assert_eq!(activity.package, None);
    }

    #[test]
    fn the_files_of_a_running_store_do_not_move_it_back() {
        let mut activity = Activity::default();
        activity.observe(&Event::Started { id: id(1) }, NOW);
        let unpacked = Event::Unpacked {
            id: id(1),
            entries: 1,
            bytes: 1,
        };
        activity.observe(&unpacked, NOW.plus(1));
        let package = activity.package.unwrap();
        assert_eq!((package.step, package.since), (ProgressStep::Running, NOW));
    }

    #[test]
    fn the_activity_of_a_newer_agent_is_readable() {
        let json = serde_json::json!({
            "package": { "id": "1795000001", "step": "asking", "since": 1, "mood": "good" },
            "battery": 90,
        });
        let activity: Activity = serde_json::from_value(json).unwrap();
        assert_eq!(
            activity.to_string(),
            "Deploying package 1795000001: under way"
        );
    }
}
