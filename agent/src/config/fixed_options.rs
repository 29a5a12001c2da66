//! Options that an agent keeps until its process ends.

use std::path::PathBuf;

use packcast_protocol::state::TrustedRoots;

use super::Config;

/// The values of these options at the start of the agent.
///
/// The agent holds the lock of its state folder, and the state of its target in memory.
#[derive(Clone, Debug)]
pub(crate) struct FixedOptions {
    state_dir: PathBuf,
    trust: TrustedRoots,
}

impl FixedOptions {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            state_dir: config.state_dir.clone(),
            trust: config.trust.clone(),
        }
    }

    /// Puts the values into another configuration, and returns the names of those that differ.
    pub(crate) fn keep(&self, mut config: Config) -> (Config, Vec<&'static str>) {
        let mut kept = Vec::new();
        if config.state_dir != self.state_dir {
            config.state_dir.clone_from(&self.state_dir);
            kept.push("state_dir");
        }
        if config.trust != self.trust {
            config.trust = self.trust.clone();
            kept.push("trust");
        }
        (config, kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "aeaqcaibaeaqcaibaeaqcaibae";
    const OTHER: &str = "aibaeaqcaibaeaqcaibaeaqcai";

    fn config(server: &str, state_dir: &str, target: &str) -> Config {
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let server = format!("https://{server}");
        let text =
            format!("server = {server:?}\nstate_dir = {state_dir:?}\ntrust = \"{target}:{key}\"\n");
        Config::parse(&text).unwrap()
    }

    #[test]
    fn state_folder_and_trust_stay_and_are_named() {
        let fixed = FixedOptions::of(&config("one", "/state", ONE));
        let check = |state_dir, target, expected: &[&str]| {
            let (kept, names) = fixed.keep(config("two", state_dir, target));
            assert_eq!(names, expected);
            assert_eq!(kept.server.url("/").as_str(), "https://two/");
            assert_eq!(kept.state_dir, fixed.state_dir);
            assert_eq!(kept.trust, fixed.trust);
        };
        check("/state", ONE, &[]);
        check("/other", ONE, &["state_dir"]);
        check("/state", OTHER, &["trust"]);
        check("/other", OTHER, &["state_dir", "trust"]);
    }
}
