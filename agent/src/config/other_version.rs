//! Options that only another version of the agent knows.
//!
//! One file configures the installed version and an updated one. The installed version runs again when
//! it has to replace an updated one, and so must not stop at the options of that version.

use std::path::Path;

use super::ConfigFile;
use crate::state;

/// The options of [`ConfigFile`].
const KNOWN: [&str; 13] = [
    "server",
    "state_dir",
    "enrolment_token_file",
    "trust",
    "ca_file",
    "parallel_downloads",
    "max_download_rate",
    "site",
    "max_unpacked_bytes",
    "trusted_keys",
    "groups",
    "dangerously_run_unsigned_packages",
    "dangerously_trust_server_assignments",
];

/// Reads a file without the options that this version does not know, and returns their names.
///
/// Returns `None` if the file has no such option, or if the device has never updated the agent: then an
/// unknown option is a spelling mistake.
pub(super) fn without_unknown(
    text: &str,
) -> Option<Result<(ConfigFile, Vec<String>), toml::de::Error>> {
    let mut options: toml::Table = text.parse().ok()?;
    let state_dir = options.get("state_dir")?.as_str()?;
    if !state::versions(Path::new(state_dir)).is_dir() {
        return None;
    }
    let names = options
        .keys()
        .filter(|name| !KNOWN.contains(&name.as_str()));
    let unknown: Vec<String> = names.cloned().collect();
    if unknown.is_empty() {
        return None;
    }
    for name in &unknown {
        options.remove(name);
    }
    Some(options.try_into().map(|file| (file, unknown)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, InvalidConfig};

    #[test]
    fn the_known_options_are_those_of_the_file() {
        let refused = toml::from_str::<ConfigFile>("unknown = 1").err().unwrap();
        let message = refused.to_string();
        let (_, names) = message.split_once("expected one of ").unwrap();
        let names: Vec<&str> = names.split('`').skip(1).step_by(2).collect();
        assert_eq!(names, KNOWN);
    }

    #[test]
    fn unknown_options_are_ignored_on_a_device_with_updates_only() {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = dir.path().join("state");
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let text = |options: &str| {
            let (target, state_dir) = ("a".repeat(26), state_dir.display());
            format!(
                "server = \"https://h\"\nstate_dir = '{state_dir}'\ntrust = \"{target}:{key}\"\n{options}"
            )
        };
        let newer = text("new_option = 1\n[new_table]\nx = 2\n");
        let parse = |text: &str| Config::parse_for_any_version(text);
        assert!(matches!(parse(&newer), Err(InvalidConfig::Toml(_))));
        std::fs::create_dir_all(state::versions(&state_dir)).unwrap();
        assert_eq!(parse(&newer).unwrap().ignored, ["new_option", "new_table"]);
        assert!(Config::parse(&newer).is_err());
        assert_eq!(parse(&text("")).unwrap().ignored, Vec::<String>::new());
        // The options that this version knows are checked as ever.
        for bad in ["parallel_downloads = 17", "site = 1", "groups = []"] {
            assert!(parse(&text(&format!("new_option = 1\n{bad}\n"))).is_err());
        }
    }
}
