//! `packcast publish`: from an archive, a directory or a command to a package.

mod windows;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

use packcast_protocol::device::AgentId;
use packcast_protocol::manifest::{Audience, DEFAULT_VALIDITY_S, Platform};
use packcast_protocol::{FragmentSize, GroupName, PackageName, PackageVersion, Priority};
use packcast_publisher::clock::now;
use packcast_publisher::publish::inspect::Inspection;
use packcast_publisher::publish::ocs_limits;
use packcast_publisher::publish::plan::{PackageTerms, Plan, Wish};
use packcast_publisher::publish::publication::{Earlier, Publication};
use packcast_publisher::publish::source::Source;
use packcast_publisher::{Failure, activate, publish};
use packcast_rollout::pace::Pacing;

use self::windows::WindowsArgs;
use super::action::ActionChoice;
use super::key_arg::KeyArg;
use super::show;
use crate::Globals;
use crate::output;
use crate::progress::Bar;

const DAY_S: u64 = 24 * 3600;

/// Publish a package
///
/// Checks the archive, reserves an id, uploads fragments, signed manifest and info. Nothing is
/// visible to devices before the package is activated and assigned. An interrupted publication
/// is completed by the same command. On a terminal, what is missing is asked for.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast publish vlc-3.0.21.zip --name vlc --version 3.0.21 --action launch --command 'setup.exe /S'
  packcast publish site/ --name site --version 7 --action store --path /var/www --activate
  packcast publish --name refresh --version 1 --action execute --command 'apt-get update'")]
pub(crate) struct Args {
    /// A .zip, a .tar.gz, or a directory to pack; none to execute a command alone
    source: Option<PathBuf>,
    /// What the package is called
    #[arg(long)]
    name: Option<PackageName>,
    /// Which version of it this is
    #[arg(long = "version", value_name = "VERSION")]
    package_version: Option<PackageVersion>,
    /// What devices do with it
    #[arg(long, value_enum)]
    action: Option<ActionChoice>,
    /// What to run: a program at the archive's top and its arguments (launch), or any command (execute)
    #[arg(long, allow_hyphen_values = true)]
    command: Option<String>,
    /// Into which folder of the device to unpack (store)
    #[arg(long, value_name = "FOLDER")]
    path: Option<String>,
    /// From 0, deployed before all others, to 10
    #[arg(long, default_value_t = Priority::DEFAULT)]
    priority: Priority,
    /// How large the fragments are: a size such as 1MiB, or auto
    #[arg(long, default_value = "auto", value_name = "SIZE")]
    fragment_size: FragmentSizeChoice,
    /// Which devices can act on it at all
    #[arg(long, value_enum, default_value_t)]
    platform: PlatformChoice,
    /// An exit code that means success (repeatable; 0 if none is given)
    #[arg(long, value_name = "CODE", allow_negative_numbers = true)]
    success_code: Vec<i32>,
    /// An exit code that means success after a restart (repeatable)
    #[arg(long, value_name = "CODE", allow_negative_numbers = true)]
    reboot_code: Vec<i32>,
    /// End the program after this many seconds
    #[arg(long, default_value_t = ocs_limits::WINDOWS_MINUTES * 60, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=7 * 24 * 3600))]
    timeout: u32,
    /// Agents stop acting on the package after this many days
    #[arg(long, default_value_t = DEFAULT_VALIDITY_S / DAY_S, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=3650))]
    expires_in: u64,
    /// Run the program again if the agent was stopped while it ran
    #[arg(long)]
    rerun_after_interruption: bool,
    /// Let devices go back to it from one of the same name that was published later
    #[arg(long)]
    allow_downgrade: bool,
    /// Only this agent may act on the package (repeatable; any agent if none is given)
    ///
    /// Such a package cannot be assigned to stock agents, which check no audience.
    #[arg(long, value_name = "AGENT")]
    only_for: Vec<AgentId>,
    /// Only agents in this group may act on the package (repeatable)
    ///
    /// An agent is in the groups that it was put into with 'packcast group add', and in those
    /// that its own configuration names.
    #[arg(long, value_name = "GROUP", conflicts_with = "only_for", value_parser = audience_group)]
    only_for_group: Vec<GroupName>,
    #[command(flatten)]
    key: KeyArg,
    /// Activate the package at all locations when it is published
    #[arg(long)]
    activate: bool,
    // The last, as its heading holds for all that follow.
    #[command(flatten)]
    windows: WindowsArgs,
}

/// `auto`, or a size.
#[derive(Clone, Copy, Debug)]
struct FragmentSizeChoice(Option<FragmentSize>);

impl FromStr for FragmentSizeChoice {
    type Err = <FragmentSize as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" {
            Ok(Self(None))
        } else {
            text.parse().map(|size| Self(Some(size)))
        }
    }
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum PlatformChoice {
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

/// Reads a group that a package can be meant for.
fn audience_group(text: &str) -> Result<GroupName, String> {
    let group: GroupName = text.parse().map_err(|error| format!("{error}"))?;
    if group.is_all() {
        return Err("every device is in 'all': leave the option out".to_owned());
    }
    Ok(group)
}

impl Args {
    pub(crate) async fn run(mut self, globals: &Globals) -> Result<(), Failure> {
        self.ask_for_what_is_missing()?;
        let source = self.source.as_deref().map(Source::open).transpose()?;
        let (size, progress) = (self.fragment_size.0, Bar::new().progress());
        let inspection = source
            .as_ref()
            .map(|source| publish::inspect(source, size, &progress))
            .transpose()?;
        let plan = self.plan(inspection.as_ref())?;
        warn(&plan, inspection.as_ref());
        let target = globals.open().await?;
        let key = self.key.load(&target)?;
        let mut publication =
            publish::publish(&target, &plan, source.as_ref(), &key, &progress).await?;
        tell(&publication, &target.pace);
        if self.activate {
            publication.package =
                activate::activate_package(&target, &publication.package, &[]).await?;
        }
        output::result(globals.format, &publication, |publication| {
            show::text(&publication.package)
        });
        Ok(())
    }

    fn plan(&self, archive: Option<&Inspection>) -> Result<Plan, Failure> {
        let missing = |option: &str| {
            Failure::usage(format!("--{option} is missing")).hint("see 'packcast publish --help'")
        };
        let zero = || BTreeSet::from([0]);
        let wish = Wish {
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
                timeout_s: self.timeout,
                validity_s: self.expires_in * DAY_S,
                rerun_after_interruption: self.rerun_after_interruption,
                going_back: self.allow_downgrade,
                audience: self.audience(),
                windows: self.windows.terms(),
            },
        };
        Ok(wish.plan(archive)?)
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

    /// Asks a person at a terminal; a script is told by [`Args::plan`] what it left out.
    fn ask_for_what_is_missing(&mut self) -> Result<(), Failure> {
        if !output::is_interactive() {
            return Ok(());
        }
        if self.source.is_none() && self.action != Some(ActionChoice::Execute) {
            self.source = ask_source()?;
        }
        if self.name.is_none() {
            self.name = Some(ask("Name of the package:")?);
        }
        if self.package_version.is_none() {
            self.package_version = Some(ask("Version:")?);
        }
        if self.action.is_none() {
            self.action = Some(ask_action(self.source.is_some())?);
        }
        if self.command.is_none() && self.action != Some(ActionChoice::Store) {
            let question = match self.action {
                Some(ActionChoice::Launch) => "Program at the archive's top, and its arguments:",
                _ => "Command:",
            };
            self.command = Some(ask(question)?);
        }
        if self.path.is_none() && self.action == Some(ActionChoice::Store) {
            self.path = Some(ask("Folder on the device:")?);
        }
        Ok(())
    }
}

fn ask<T: FromStr<Err: std::fmt::Display> + std::fmt::Display + Clone>(
    question: &str,
) -> Result<T, Failure> {
    inquire::CustomType::<T>::new(question)
        .with_parser(&|text| text.parse().map_err(|_| ()))
        .with_error_message("That cannot be used; see 'packcast publish --help'")
        .prompt()
        .map_err(Failure::usage)
}

fn ask_source() -> Result<Option<PathBuf>, Failure> {
    let answer = inquire::Text::new("Archive or directory (none to execute a command alone):")
        .prompt()
        .map_err(Failure::usage)?;
    Ok(Some(answer.trim())
        .filter(|path| !path.is_empty())
        .map(PathBuf::from))
}

fn ask_action(has_source: bool) -> Result<ActionChoice, Failure> {
    const LAUNCH: &str = "launch   unpack, and run a program of the archive";
    const EXECUTE: &str = "execute  run any command";
    const STORE: &str = "store    unpack into a folder";
    let choices = if has_source {
        vec![LAUNCH, EXECUTE, STORE]
    } else {
        vec![EXECUTE]
    };
    let choice = inquire::Select::new("What do devices do with it?", choices)
        .prompt()
        .map_err(Failure::usage)?;
    Ok(match choice {
        LAUNCH => ActionChoice::Launch,
        STORE => ActionChoice::Store,
        _ => ActionChoice::Execute,
    })
}

fn warn(plan: &Plan, inspection: Option<&Inspection>) {
    for warning in ocs_limits::warnings(plan, inspection, now()) {
        output::note(&format!("warning: {warning}"));
    }
}

fn tell(publication: &Publication, pace: &Pacing) {
    let package = &publication.package;
    let fragments = package
        .published()
        .map_or(0, |published| published.fragments);
    match publication.earlier {
        Earlier::None => {}
        Earlier::Begun => output::note(&format!(
            "package {} was begun before: {} of {fragments} fragments ({}) did not have to be uploaded",
            package.id,
            publication.kept.fragments,
            output::bytes(publication.kept.bytes)
        )),
        Earlier::Published => output::note(&format!(
            "package {} was published already: nothing had to be uploaded",
            package.id
        )),
    }
    output::note(&format!(
        "a stock agent alone with it takes about {}, plus the download itself",
        output::duration(pace.alone_s(package.priority, fragments))
    ));
}
