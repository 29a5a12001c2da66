//! Options that an agent keeps until its process ends.

use std::path::PathBuf;

use packcast_protocol::state::TrustedRoots;

use super::Config;
use crate::platform;

/// The values of these options at the start of the agent.
///
/// The agent holds the lock of its state folder, and the state of its target in memory.
#[derive(Clone, Debug)]
pub(crate) struct FixedOptions {
    state_dir: PathBuf,
    trust: TrustedRoots,
}

/// A configuration that needs a new process.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} changed: restart the service: {}",
    options.join(" and "),
    platform::RESTART_SERVICE
)]
pub(crate) struct FixedOptionsChanged {
    options: Vec<&'static str>,
}

impl FixedOptions {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            state_dir: config.state_dir.clone(),
            trust: config.trust.clone(),
        }
    }

    /// Checks that another configuration has the same values.
    ///
    /// The agent refuses the whole configuration otherwise, because `server` and the enrolment token
    /// belong to the target of `trust`, and the pass to the state folder.
    pub(crate) fn expect_same(&self, config: &Config) -> Result<(), FixedOptionsChanged> {
        let differs = [
            ("state_dir", config.state_dir != self.state_dir),
            ("trust", config.trust != self.trust),
        ];
        let options = differs.into_iter().filter(|(_, differs)| *differs);
        let options: Vec<_> = options.map(|(option, _)| option).collect();
        if options.is_empty() {
            Ok(())
        } else {
            Err(FixedOptionsChanged { options })
        }
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
    fn another_state_folder_or_trust_line_is_refused() {
        let fixed = FixedOptions::of(&config("one", "/state", ONE));
        let check = |state_dir, target| fixed.expect_same(&config("two", state_dir, target));
        assert_eq!(check("/state", ONE), Ok(()));
        let refused = [("/other", ONE), ("/state", OTHER), ("/other", OTHER)]
            .map(|(state_dir, target)| check(state_dir, target).unwrap_err().options);
        let both = vec!["state_dir", "trust"];
        assert_eq!(refused, [vec!["state_dir"], vec!["trust"], both]);
    }

    #[cfg(unix)]
    #[test]
    fn the_message_names_the_options_and_the_remedy() {
        let fixed = FixedOptions::of(&config("one", "/state", ONE));
        let refused = fixed.expect_same(&config("two", "/other", OTHER));
        insta::assert_snapshot!(refused.unwrap_err(), @"state_dir and trust changed: restart the service: systemctl restart packcast-agent");
    }
}
