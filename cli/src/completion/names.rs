//! Names from the table and the configuration, as candidates for arguments.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use packcast_protocol::{GroupName, LocationName, PackageRef};
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::target::LOCAL;
use packcast_publisher::{Failure, Target};

use crate::globals::Globals;
use crate::output::Format;
use crate::places;

/// A person waits for the candidates; without an answer in this time there are none.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// Maximum number of names that are read from the table.
const MOST: usize = 200;

/// The kinds of names in arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Package,
    Group,
    Device,
    Location,
    Target,
}

/// The names of the target that a command line has.
#[derive(Debug)]
pub(super) struct Names {
    globals: Globals,
}

/// Adds names as candidates to all arguments that take a name.
pub(super) fn with_names(command: Command, names: &Arc<Names>) -> Command {
    let name = command.get_name().to_owned();
    let with_args = command.mut_args(|argument| match Kind::of(&argument) {
        Some(kind) if !is_new(kind, &name, argument.get_id().as_str()) => {
            let names = Arc::clone(names);
            argument.add(ArgValueCompleter::new(move |typed: &OsStr| {
                names.candidates(kind, typed)
            }))
        }
        _ => argument,
    });
    with_args.mut_subcommands(|command| with_names(command, names))
}

/// Returns true for the names that `group create`, `group rename` and `location add` give.
fn is_new(kind: Kind, command: &str, argument: &str) -> bool {
    matches!(
        (kind, command, argument),
        (Kind::Group, "create", _) | (Kind::Group, "rename", "to") | (Kind::Location, "add", _)
    )
}

impl Kind {
    fn of(argument: &Arg) -> Option<Self> {
        if argument.get_id() == "target" {
            return Some(Self::Target);
        }
        let value = argument.get_value_parser().type_id();
        let kinds = [
            (TypeId::of::<PackageRef>(), Self::Package),
            (TypeId::of::<GroupName>(), Self::Group),
            (TypeId::of::<DeviceName>(), Self::Device),
            (TypeId::of::<LocationName>(), Self::Location),
        ];
        let found = kinds.into_iter().find(|(of, _)| value == *of);
        found.map(|(_, kind)| kind)
    }
}

impl Names {
    /// Finds the target that the typed words or the environment name.
    pub(super) fn of(words: &[OsString]) -> Self {
        let option = |name: &str, variable| {
            let typed = option(words, name);
            typed.or_else(|| std::env::var(variable).ok())
        };
        let target = option("--target", "PACKCAST_TARGET").unwrap_or(LOCAL.to_owned());
        let config = option("--config", "PACKCAST_CONFIG");
        Self {
            globals: Globals::new(&target, config.as_deref(), Format::Text),
        }
    }

    /// Returns the names that begin with the typed text, regardless of case. Without an answer of the
    /// table there are none.
    fn candidates(&self, kind: Kind, typed: &OsStr) -> Vec<CompletionCandidate> {
        let typed = typed.to_string_lossy().to_lowercase();
        let mut names = self.read(kind).unwrap_or_default();
        names.retain(|name| is_harmless(name) && name.to_lowercase().starts_with(&typed));
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(CompletionCandidate::new).collect()
    }

    fn read(&self, kind: Kind) -> Option<Vec<String>> {
        if kind == Kind::Target {
            let config = self.globals.config.as_deref();
            return Target::names(config, &places::find().ok()?).ok();
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .ok()?;
        let read = async { tokio::time::timeout(TIME_LIMIT, self.read_table(kind)).await };
        let names = runtime.block_on(read);
        // A look-up of a host name may still wait in a thread.
        runtime.shutdown_background();
        names.ok()?.ok()
    }

    async fn read_table(&self, kind: Kind) -> Result<Vec<String>, Failure> {
        let target = self.globals.open().await?;
        let records = &target.records;
        Ok(match kind {
            Kind::Package => {
                let packages = records.packages(MOST).await?;
                let names = packages.iter();
                names
                    .map(|package| format!("{}@{}", package.name, package.version))
                    .collect()
            }
            Kind::Group => {
                let groups = records.group_names(MOST).await?;
                let all = std::iter::once(GroupName::all());
                all.chain(groups).map(|group| group.to_string()).collect()
            }
            Kind::Device => {
                let devices = records.devices(MOST).await?;
                let names = devices.into_iter();
                names.map(|(device, _)| device.host_name).collect()
            }
            Kind::Location => {
                let locations = records.locations().await?;
                let names = locations.iter().take(MOST);
                names.map(|location| location.name.to_string()).collect()
            }
            Kind::Target => Vec::new(),
        })
    }
}

/// Returns the value of an option among the typed words. The last word is not complete.
fn option(words: &[OsString], name: &str) -> Option<String> {
    let complete = &words[..words.len().saturating_sub(1)];
    let words: Vec<&str> = complete.iter().filter_map(|word| word.to_str()).collect();
    let after = words.windows(2).filter(|pair| pair[0] == name);
    let apart = after.map(|pair| pair[1]).next_back();
    let joined = words.iter().rev().find_map(|word| {
        let rest = word.strip_prefix(name)?;
        rest.strip_prefix('=')
    });
    apart.or(joined).map(ToOwned::to_owned)
}

/// Returns true if a name means the same in every shell without quotation marks, and is no option.
/// Devices choose their host names, and a shell must not run them.
fn is_harmless(name: &str) -> bool {
    let is_plain = |character: char| character.is_alphanumeric() || "._+-~:@".contains(character);
    !name.is_empty() && !name.starts_with(['-', '~', '+', ':']) && name.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_shell_could_run_are_left_out() {
        for harmless in ["web01", "büro-01", "vlc@3.0.21", "a~b+c:d", "_x"] {
            assert!(is_harmless(harmless), "{harmless}");
        }
        for harmful in [
            "",
            "$(reboot)",
            "`reboot`",
            "a;b",
            "a b",
            "a|b",
            "a&b",
            "a>b",
            "*",
            "a?b",
            "[a]",
            "{a,b}",
            "'a",
            "\"a",
            "a\\b",
            "!!",
            "#a",
            "a\nb",
            "a\tb",
            "a\u{1b}[2J",
            "a\u{202e}b",
            "--force",
            "~root",
            "a(b)",
            "a=b",
            "%a",
            "a/../b",
        ] {
            assert!(!is_harmless(harmful), "{harmful:?}");
        }
    }

    #[test]
    fn the_target_is_found_among_the_typed_words() {
        let target = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            option(&words, "--target")
        };
        assert_eq!(target("packcast show "), None);
        assert_eq!(
            target("packcast --target prod show ").as_deref(),
            Some("prod")
        );
        assert_eq!(
            target("packcast show --target=prod v").as_deref(),
            Some("prod")
        );
        assert_eq!(target("packcast show --target pr"), None);
        assert_eq!(target("packcast show --target=pr"), None);
    }

    /// Returns the arguments of all commands that take a name of a kind.
    fn arguments(command: &Command, path: &str, kind: Kind) -> Vec<String> {
        let own = command.get_arguments();
        let own = own.filter(|argument| argument.get::<ArgValueCompleter>().is_some());
        let own = own.filter(|argument| Kind::of(argument) == Some(kind));
        let own: Vec<String> = own
            .map(|argument| format!("{path} {}", argument.get_id()))
            .collect();
        let below = command.get_subcommands().flat_map(|command| {
            let path = format!("{path} {}", command.get_name());
            arguments(command, &path, kind)
        });
        own.into_iter().chain(below).collect()
    }

    #[test]
    fn arguments_with_names_have_candidates() {
        let names = Arc::new(Names::of(&[]));
        let cli = with_names(crate::cli(), &names);
        let kinds = [
            Kind::Package,
            Kind::Group,
            Kind::Device,
            Kind::Location,
            Kind::Target,
        ];
        let texts = kinds.map(|kind| {
            let found = arguments(&cli, "", kind).join("\n");
            format!("{kind:?}:\n{found}")
        });
        insta::assert_snapshot!(texts.join("\n"), @"
        Package:
         verify package
         activate package
         deactivate package
         assign package
         unassign package
         rollout start package
         rollout show package
         rollout watch package
         rollout pause package
         rollout resume package
         rollout promote package
         rollout end package
         rollout finish package
         delete package
         show package
         status package
         wait package
         device list has
         device list lacks
         device list package
         explain package
         log package
        Group:
         publish only_for_group
         assign group
         unassign group
         rollout start group
         rollout start pilot
         group add group
         group remove group
         group show group
         group prefer group
         group pacing group
         group rename group
         group delete group
         status group
         wait group
         device list group
         log group
        Device:
         assign device
         unassign device
         group add device
         group remove device
         wait device
         device show device
         device block device
         device unblock device
         device remove device
         device replace old
         device replace new
         device restart-download device
         device drop device
         device pacing device
         explain device
         log device
        Location:
         location remove name
         location check names
         verify location
         activate location
         group prefer location
        Target:
         target
        ");
    }
}
