//! `packcast publish`: creates a package from an archive, a directory or a command.

mod read;
mod result;
mod windows;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use packcast_protocol::device::AgentId;
use packcast_protocol::fragment::FragmentSizeError;
use packcast_protocol::manifest::{Audience, Platform};
use packcast_protocol::{
    Action, FragmentSize, GroupName, PackageName, PackageVersion, Priority, with_causes,
};
use packcast_publisher::clock::now;
use packcast_publisher::package::named;
use packcast_publisher::publish::failing_program::failing_program;
use packcast_publisher::publish::inspect::{Contents, Inspection};
use packcast_publisher::publish::name_encoding::NameEncoding;
use packcast_publisher::publish::ocs_limits;
use packcast_publisher::publish::plan::{PackageTerms, Plan, PublishRequest, launch_command};
use packcast_publisher::publish::publication::{Earlier, Publication};
use packcast_publisher::publish::source::Source;
use packcast_publisher::values::duration::{self, DAY_S};
use packcast_publisher::values::size::{self, SizeError};
use packcast_publisher::{Failure, Target, activate, location, publish};
use packcast_rollout::PackageRecord;
use packcast_rollout::pacing::Pacing;

pub(super) use self::read::{interruptible, read};
use self::windows::WindowsArgs;
use super::action::ActionChoice;
use super::key_arg::KeyArg;
use crate::Globals;
use crate::output;
use crate::progress::{Bar, until_interrupted};
use crate::prompt;

// The questions at a terminal.
const SOURCE: &str = "Archive, directory or file (empty to execute a command only):";
const NAME: &str = "Package name:";
const VERSION: &str = "Package version:";
const ACTION: &str = "Action on the device:";
const LAUNCH: &str = "launch   unpack the archive and run a program from it";
const EXECUTE: &str = "execute  run any command";
const STORE: &str = "store    unpack the archive into a folder";
const PROGRAM: &str = "Program at the top of the archive, and its arguments:";
const COMMAND: &str = "Command:";
/// The maximum number of programs that a question offers.
const OFFERED: usize = 100;
const FOLDER: &str = "Folder on the device:";

/// Publish a package
///
/// Checks the archive, reserves a package id, and uploads the fragments, the signed manifest and
/// the info. No device sees the package before it is activated and assigned. If the command is
/// interrupted, run it again to complete the publication. On a terminal, the command asks for
/// missing options.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast publish vlc-3.0.21.zip --name vlc --version 3.0.21 \\
      --action launch --command 'setup.exe /S'
  packcast publish site/ --name site --version 7 \\
      --action store --path /var/www --activate
  packcast publish --name refresh --version 1 \\
      --action execute --command 'apt-get update'")]
pub(crate) struct Args {
    /// Archive (.zip or .tar.gz), directory or other file to publish; leave it out to execute only a
    /// command
    ///
    /// A directory or another file is packed first: as .zip for Windows, otherwise as .tar.gz.
    source: Option<PathBuf>,
    /// Package name: 1 to 64 letters, digits, '.', '_', '+' and '-'
    ///
    /// The first character is a letter or digit.
    #[arg(long)]
    name: Option<PackageName>,
    /// Package version: 1 to 64 letters, digits, '.', '_', '+', '-', '~' and ':'
    ///
    /// The first character is a letter or digit.
    #[arg(long = "version", value_name = "VERSION")]
    package_version: Option<PackageVersion>,
    /// Action on the device
    #[arg(long, value_enum)]
    action: Option<ActionChoice>,
    /// Program at the top of the archive with its arguments (launch), or any command (execute)
    #[arg(long, allow_hyphen_values = true)]
    command: Option<String>,
    /// Folder on the device to unpack into (store)
    #[arg(long, value_name = "FOLDER")]
    path: Option<String>,
    /// Priority from 0, which is deployed first, to 10
    #[arg(long, default_value_t = Priority::DEFAULT)]
    priority: Priority,
    /// Size of the fragments, such as 1MiB, or auto
    ///
    /// The automatic size is a 64th of the archive, from 1 MiB to 64 MiB. For a directory or another
    /// file, the length before packing decides. So its archive has fewer than 64 fragments if the
    /// files compress well; choose a smaller size if the downloads of devices often break.
    #[arg(long, default_value = "auto", value_name = "SIZE")]
    fragment_size: FragmentSizeChoice,
    /// Operating system that the package is for
    #[arg(long, value_enum, default_value_t)]
    platform: PlatformChoice,
    /// Encoding of the names in a zip archive that does not say it, such as `shift_jis`
    #[arg(long, value_name = "ENCODING")]
    name_encoding: Option<NameEncoding>,
    /// Exit code that means success, instead of 0 (repeatable)
    #[arg(long, value_name = "CODE", allow_negative_numbers = true)]
    success_code: Vec<i32>,
    /// Exit code that means success after a restart (repeatable)
    #[arg(long, value_name = "CODE", allow_negative_numbers = true)]
    reboot_code: Vec<i32>,
    /// Stop the program after this time, such as 30min or 4h
    #[arg(long, default_value = "2h", value_name = "DURATION", value_parser = duration::seconds(1, 7 * DAY_S))]
    timeout: u64,
    /// Let no device begin the package after this time, such as 90d
    ///
    /// A package does not expire unless you pass this option. An expiry cannot be changed later:
    /// publish the content under another version instead.
    #[arg(long, value_name = "DURATION", value_parser = duration::days(1, 3_650))]
    expires_in: Option<u64>,
    /// Run the program again if the agent was stopped while the program ran
    #[arg(long)]
    rerun_after_interruption: bool,
    /// Allow only the agent with this id to act on the package (repeatable)
    ///
    /// The allowed agents are the audience of the package. OCS agents check no audience, so the
    /// package cannot be assigned to them.
    #[arg(long, value_name = "AGENT")]
    only_for: Vec<AgentId>,
    /// Allow only agents in this group to act on the package (repeatable)
    ///
    /// An agent is in the groups that 'packcast group add' has added it to. The package cannot be
    /// assigned to OCS agents.
    #[arg(long, value_name = "GROUP", conflicts_with = "only_for", value_parser = audience_group)]
    only_for_group: Vec<GroupName>,
    #[command(flatten)]
    key: KeyArg,
    /// Activate the package at all locations after the publication
    #[arg(long)]
    activate: bool,
    // These options come last: their heading holds for all options that follow it.
    #[command(flatten)]
    windows: WindowsArgs,
}

/// The value of `--fragment-size`: `auto`, or a size.
#[derive(Clone, Copy, Debug)]
struct FragmentSizeChoice(Option<FragmentSize>);

impl FromStr for FragmentSizeChoice {
    type Err = FragmentSizeChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self(None));
        }
        let size = FragmentSize::try_from(size::parse(text)?)?;
        Ok(Self(Some(size)))
    }
}

/// Errors for a value of `--fragment-size`.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum FragmentSizeChoiceError {
    Form(#[from] SizeError),
    Size(#[from] FragmentSizeError),
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(crate) enum PlatformChoice {
    #[default]
    Any,
    Linux,
    Windows,
    Macos,
}

impl From<PlatformChoice> for Platform {
    fn from(choice: PlatformChoice) -> Self {
        match choice {
            PlatformChoice::Any => Self::Any,
            PlatformChoice::Linux => Self::Linux,
            PlatformChoice::Windows => Self::Windows,
            PlatformChoice::Macos => Self::Macos,
        }
    }
}

fn missing(option: &str) -> Failure {
    Failure::usage(format!("--{option} is missing"))
        .hint("run 'packcast publish --help' to see the options")
}

/// Reads a group for the audience of a package.
fn audience_group(text: &str) -> Result<GroupName, String> {
    let group: GroupName = text.parse().map_err(|error| format!("{error}"))?;
    if group.is_all() {
        return Err("every device is in group 'all': leave out --only-for-group".to_owned());
    }
    Ok(group)
}

impl Args {
    pub(crate) async fn run(mut self, globals: &Globals) -> Result<(), Failure> {
        self.ask_missing_options()?;
        // Missing options are reported before the target is opened.
        let PublishRequest { name, version, .. } = self.request()?;
        let target = open_target(globals, self.activate).await?;
        let read = match self.source.clone() {
            Some(path) => {
                let (platform, encoding) = (self.platform.into(), self.name_encoding);
                let open = move || Ok(Source::open(&path, platform, encoding)?);
                let size = self.fragment_size.0;
                Some(Box::pin(read(&target, (&name, &version), open, size)).await?)
            }
            None => None,
        };
        // Removes the staged files that have not become objects, after Ctrl-C, too.
        let (read, _staging) = read.map(|read| (read.source, read.staging)).unzip();
        let (source, inspection) = read.unzip();
        if let Some(inspection) = &inspection {
            self.ask_program(&inspection.contents)?;
        }
        let plan = self.request()?.plan(inspection.as_ref())?;
        let planned = Planned {
            plan,
            source,
            inspection,
            activate: self.activate,
            for_ocs_agents: self.windows.has_terms(),
        };
        Box::pin(planned.publish(target, globals, &self.key)).await
    }

    fn request(&self) -> Result<PublishRequest, Failure> {
        let zero = || BTreeSet::from([0]);
        Ok(PublishRequest {
            name: self.name.clone().ok_or_else(|| missing("name"))?,
            version: self
                .package_version
                .clone()
                .ok_or_else(|| missing("version"))?,
            priority: self.priority,
            action: self.action.ok_or_else(|| missing("action"))?.into(),
            command: self.command.clone(),
            folder: self.path.clone(),
            terms: PackageTerms {
                platform: self.platform.into(),
                success_codes: if self.success_code.is_empty() {
                    zero()
                } else {
                    self.success_code.iter().copied().collect()
                },
                reboot_codes: self.reboot_code.iter().copied().collect(),
                timeout_s: u32::try_from(self.timeout).unwrap_or(u32::MAX),
                validity_s: self.expires_in,
                rerun_after_interruption: self.rerun_after_interruption,
                audience: self.audience(),
                windows: self.windows.terms(),
            },
        })
    }

    fn audience(&self) -> Audience {
        if !self.only_for.is_empty() {
            Audience::Devices(self.only_for.iter().cloned().collect())
        } else if !self.only_for_group.is_empty() {
            Audience::Groups(self.only_for_group.iter().cloned().collect())
        } else {
            Audience::Any
        }
    }

    /// Asks a person at a terminal for missing options. For a script, [`Args::request`] returns
    /// an error that names the option.
    fn ask_missing_options(&mut self) -> Result<(), Failure> {
        if !output::is_interactive() {
            return Ok(());
        }
        if self.source.is_none() && self.action != Some(ActionChoice::Execute) {
            let is_needed = self.action.is_some();
            self.source = ask_source(is_needed)?;
        }
        if self.name.is_none() {
            self.name = Some(prompt::value(NAME)?);
        }
        if self.package_version.is_none() {
            self.package_version = Some(prompt::value(VERSION)?);
        }
        if self.action.is_none() {
            self.action = Some(ask_action(self.source.is_some())?);
        }
        if self.command.is_none() && self.action == Some(ActionChoice::Execute) {
            self.command = Some(prompt::value(COMMAND)?);
        }
        if self.path.is_none() && self.action == Some(ActionChoice::Store) {
            self.path = Some(prompt::value(FOLDER)?);
        }
        Ok(())
    }

    /// Asks a person at a terminal for the program to launch, and offers the files at the top of the
    /// archive.
    fn ask_program(&mut self, contents: &Contents) -> Result<(), Failure> {
        let is_launch = self.action == Some(ActionChoice::Launch);
        if !is_launch || self.command.is_some() || !output::is_interactive() {
            return Ok(());
        }
        let platform = self.platform.into();
        let check = |line: &str| match launch_command(line, platform, contents) {
            Ok(_) => Ok(()),
            Err(error) => Err(output::printable(&with_causes(&error))),
        };
        let programs = programs(contents, check);
        self.command = Some(prompt::text(PROGRAM, &programs, check)?);
        Ok(())
    }
}

/// A package that is ready to publish.
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) source: Option<Source>,
    pub(super) inspection: Option<Inspection>,
    pub(super) activate: bool,
    /// The package is for OCS agents, even if none is on record.
    pub(super) for_ocs_agents: bool,
}

impl Planned {
    /// Publishes the package, and prints the result.
    pub(super) async fn publish(
        self,
        target: Target,
        globals: &Globals,
        key: &KeyArg,
    ) -> Result<(), Failure> {
        // A person who reads a warning can still stop: nothing is uploaded yet.
        warn(&self.plan, self.inspection.as_ref());
        let key = key.load(&target)?;
        let bar = Bar::new();
        let progress = bar.progress();
        let source = self.source.as_ref();
        let work = publish::publish(&target, &self.plan, source, &key, &progress);
        let work = Box::pin(work);
        let mut publication = until_interrupted("bytes", work, &bar).await?;
        if let Some(note) = earlier(&publication) {
            output::note(&note);
        }
        let finishing = Box::pin(self.finish(&target, &publication));
        let finished = until_interrupted("locations", finishing, &Bar::new()).await;
        let failure = match finished {
            Ok(Some(active)) => {
                publication.package = active;
                None
            }
            Ok(None) => None,
            Err(failure) => {
                output::note(&published(&publication.package, self.activate));
                Some(failure)
            }
        };
        output::result(globals.format, &publication, |publication| {
            result::text(&publication.package, now())
        });
        failure.map_or(Ok(()), Err)
    }

    /// Prints the note about OCS agents, and activates the package if that was requested: the
    /// function then returns the active package.
    async fn finish(
        &self,
        target: &Target,
        publication: &Publication,
    ) -> Result<Option<PackageRecord>, Failure> {
        // No OCS agent gets an update of the Packcast agent.
        let is_update = matches!(self.plan.action, Action::Update { .. });
        if !is_update && (self.for_ocs_agents || target.records.has_ocs_devices().await?) {
            output::note(&pauses(publication, &target.pace));
        }
        if !self.activate {
            return Ok(None);
        }
        let active = activate::activate_package(target, &publication.package, &[]).await?;
        Ok(Some(active))
    }
}

/// Opens the target of a publication. A package that is to be `activate`d needs a location.
pub(super) async fn open_target(globals: &Globals, activate: bool) -> Result<Target, Failure> {
    let opening = Box::pin(async {
        let target = globals.open().await?;
        if activate {
            // Otherwise the command would fail after the publication.
            location::choose(&target, &[]).await?;
        }
        Ok(target)
    });
    until_interrupted("bytes", opening, &Bar::new()).await
}

/// Returns the files at the top of an archive that can be launched by their name alone, at most
/// [`OFFERED`].
fn programs(contents: &Contents, check: impl Fn(&str) -> Result<(), String>) -> Vec<String> {
    let files = contents.top_files.iter();
    let can_start = files.filter(|file| check(file).is_ok() && output::printable(file) == **file);
    can_start.take(OFFERED).cloned().collect()
}

/// Asks for a source. An empty answer is accepted unless the action needs a source.
fn ask_source(is_needed: bool) -> Result<Option<PathBuf>, Failure> {
    let check = move |answer: &str| check_source(answer, is_needed);
    let answer = prompt::text(SOURCE, &[], check)?;
    Ok((!answer.is_empty()).then(|| PathBuf::from(answer)))
}

fn check_source(answer: &str, is_needed: bool) -> Result<(), String> {
    if answer.is_empty() && is_needed {
        return Err("the action needs an archive, a directory or another file".to_owned());
    }
    if !answer.is_empty() && !Path::new(answer).exists() {
        return Err(format!("cannot find {}", output::printable(answer)));
    }
    Ok(())
}

fn ask_action(has_source: bool) -> Result<ActionChoice, Failure> {
    let choices = if has_source {
        vec![LAUNCH, EXECUTE, STORE]
    } else {
        vec![EXECUTE]
    };
    Ok(match prompt::choice(ACTION, choices)? {
        LAUNCH => ActionChoice::Launch,
        STORE => ActionChoice::Store,
        _ => ActionChoice::Execute,
    })
}

fn warn(plan: &Plan, inspection: Option<&Inspection>) {
    for warning in inspection.into_iter().flat_map(|it| it.contents.warnings()) {
        output::note(&warning.to_string());
    }
    for warning in failing_program(plan, inspection) {
        output::note(&format!("warning: {warning}"));
    }
    for warning in ocs_limits::warnings(plan, inspection, now()) {
        output::note(&format!("warning: {warning}"));
    }
}

/// Returns the note about a package that is published, if the command fails afterwards.
fn published(package: &PackageRecord, activate: bool) -> String {
    let name = named(package);
    if activate {
        format!("{name} is published, and its activation is not complete")
    } else {
        format!("{name} is published")
    }
}

/// Returns the note about an earlier run of the publication.
fn earlier(publication: &Publication) -> Option<String> {
    let package = &publication.package;
    match publication.earlier {
        Earlier::None => None,
        Earlier::Begun => Some(format!(
            "resumed package {}: {} of {} fragments ({}) were already uploaded",
            package.id,
            publication.kept.fragments,
            fragments(package),
            output::bytes(publication.kept.bytes)
        )),
        Earlier::Published => Some(format!(
            "package {} is already published: uploaded nothing",
            package.id
        )),
    }
}

/// Returns the note about the pauses of OCS agents.
fn pauses(publication: &Publication, pacing: &Pacing) -> String {
    let package = &publication.package;
    let seconds = pacing.alone_s(package.priority, fragments(package));
    format!(
        "if an OCS agent has only this package, its pauses add about {} to the download",
        output::duration(seconds)
    )
}

fn fragments(package: &PackageRecord) -> u32 {
    let published = package.published();
    published.map_or(0, |published| published.fragments)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_protocol::windows::Notice;
    use packcast_publisher::publish::build::KeptFragments;

    use super::*;
    use crate::fixtures;

    fn publication(earlier: Earlier) -> Publication {
        Publication {
            package: fixtures::active(),
            earlier,
            kept: KeptFragments {
                fragments: 12,
                bytes: 12_582_912,
            },
        }
    }

    #[test]
    fn notes_report_an_earlier_run_and_the_pauses_of_ocs_agents() {
        let note = |before| earlier(&publication(before));
        assert_eq!(note(Earlier::None), None);
        assert_snapshot!(note(Earlier::Begun).unwrap(), @"resumed package 1795327754: 12 of 43 fragments (12.00 MiB) were already uploaded");
        assert_snapshot!(note(Earlier::Published).unwrap(), @"package 1795327754 is already published: uploaded nothing");
        let pauses = pauses(&publication(Earlier::None), &Pacing::default());
        assert_snapshot!(pauses, @"if an OCS agent has only this package, its pauses add about 5 minutes to the download");
    }

    #[test]
    fn a_failure_after_the_publication_says_that_the_package_is_published() {
        let notes = [true, false].map(|activate| published(&fixtures::active(), activate));
        assert_snapshot!(notes.join("\n"), @"
        vlc@3.0.21 is published, and its activation is not complete
        vlc@3.0.21 is published
        ");
    }

    #[test]
    fn a_fragment_size_is_a_size_or_automatic() {
        let size = |text: &str| text.parse::<FragmentSizeChoice>().map(|choice| choice.0);
        assert_eq!(size("AUTO").unwrap(), None);
        for (text, bytes) in [("1MB", 1_000_000), ("1MiB", 1_048_576), ("1m", 1_048_576)] {
            let size = size(text).unwrap().map(FragmentSize::get);
            assert_eq!(size, Some(bytes), "{text}");
        }
        let refused = ["0", "5GiB", "large"].map(|text| size(text).unwrap_err().to_string());
        assert_snapshot!(refused.join("\n"), @"
        expected a fragment size from 1KiB to 4GiB, found 0 bytes
        expected a fragment size from 1KiB to 4GiB, found 5368709120 bytes
        expected a size such as 1MiB, 64KiB, 1MB or 1048576
        ");
    }

    #[test]
    fn defaults_are_those_of_the_agents() {
        let parse = crate::parse(["packcast", "publish", "--notify", "Soon"].map(Into::into));
        let crate::Command::Publish(args) = parse.unwrap().0.command else {
            panic!("publish is a command");
        };
        assert_eq!(args.timeout, u64::from(ocs_limits::WINDOWS_MINUTES) * 60);
        let notice = args.windows.terms().dialogue.notice.unwrap();
        assert_eq!(notice.countdown_s, Notice::DEFAULT_COUNTDOWN_S);
    }

    #[test]
    fn wording_of_questions() {
        let questions = [SOURCE, NAME, VERSION, ACTION, PROGRAM, COMMAND, FOLDER];
        assert_snapshot!(questions.join("\n"), @"
        Archive, directory or file (empty to execute a command only):
        Package name:
        Package version:
        Action on the device:
        Program at the top of the archive, and its arguments:
        Command:
        Folder on the device:
        ");
        assert_snapshot!([LAUNCH, EXECUTE, STORE].join("\n"), @"
        launch   unpack the archive and run a program from it
        execute  run any command
        store    unpack the archive into a folder
        ");
    }

    #[test]
    fn a_source_must_exist() {
        let here = env!("CARGO_MANIFEST_DIR");
        assert_eq!(check_source(here, true), Ok(()));
        assert_eq!(check_source("", false), Ok(()));
        let refused = [("", true), ("no/such.zip", false)];
        let refused = refused.map(|(answer, is_needed)| check_source(answer, is_needed));
        assert_snapshot!(refused.map(Result::unwrap_err).join("\n"), @"
        the action needs an archive, a directory or another file
        cannot find no/such.zip
        ");
    }

    #[test]
    fn programs_at_the_top_of_an_archive_are_offered() {
        let names = ["run.sh", "set up.exe", "evil\u{1b}.sh", "setup.exe"];
        let contents = Contents {
            top_files: names.map(ToOwned::to_owned).into(),
            ..Contents::default()
        };
        let check = |line: &str| match line {
            "set up.exe" => Err("the program is set".to_owned()),
            _ => Ok(()),
        };
        assert_eq!(programs(&contents, check), ["run.sh", "setup.exe"]);
    }

    #[test]
    fn a_missing_option_is_named() {
        assert_snapshot!(missing("version"), @"
        --version is missing
        hint: run 'packcast publish --help' to see the options
        ");
        assert_snapshot!(audience_group("all").unwrap_err(), @"every device is in group 'all': leave out --only-for-group");
    }
}
