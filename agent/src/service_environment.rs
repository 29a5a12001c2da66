//! The proxies in the environment file of the service.
//!
//! systemd gives the service the variables in `/etc/packcast/agent.env`. Commands of a person at the
//! machine have the environment of a shell, and reach the server by the proxies of the service.

use std::path::{Path, PathBuf};

/// The variables that name a proxy.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// The variables with the hosts that are reached directly.
const DIRECT: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// Returns the path of the file, beside the configuration.
pub(crate) fn path(config: &Path) -> PathBuf {
    config.with_file_name("agent.env")
}

/// Returns the variables of the service that concern proxies. A file that cannot be read has none.
pub(crate) fn proxies(config: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(path(config)).unwrap_or_default();
    text.lines().filter_map(variable).collect()
}

/// Returns `true` if a process with this environment uses the proxies of the service.
pub(crate) fn uses(variables: &[(String, String)]) -> bool {
    let is_set = |name: &str, value: &str| std::env::var(name).as_deref() == Ok(value);
    let mut proxies = variables.iter().filter(|(name, _)| names_proxy(name));
    proxies.any(|(name, value)| is_set(name, value))
}

/// Starts this command again with the proxies of the service, unless the environment names a proxy.
///
/// Returns if there is nothing to add, or with an error.
#[cfg(unix)]
pub(crate) fn adopt(config: &Path) -> std::io::Result<()> {
    use std::os::unix::process::CommandExt as _;

    let found = proxies(config);
    let has_proxy = PROXIES.iter().any(|name| std::env::var_os(name).is_some());
    if has_proxy || !found.iter().any(|(name, _)| names_proxy(name)) {
        return Ok(());
    }
    // Variables of the shell stay as they are.
    let new = found
        .into_iter()
        .filter(|(name, _)| std::env::var_os(name).is_none());
    let mut arguments = std::env::args_os();
    let mut command = std::process::Command::new(std::env::current_exe()?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // The process changes its own environment by a new start only: other threads read it.
    Err(command.args(arguments).envs(new).exec())
}

fn names_proxy(name: &str) -> bool {
    PROXIES.contains(&name)
}

/// Reads a line of an environment file of systemd.
fn variable(line: &str) -> Option<(String, String)> {
    let (name, value) = line.trim().split_once('=')?;
    let (name, value) = (name.trim_end(), value.trim_start());
    if !names_proxy(name) && !DIRECT.contains(&name) {
        return None;
    }
    let unquoted = ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    Some((name.to_owned(), unquoted.unwrap_or(value).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_proxies_are_read_from_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("agent.toml");
        assert_eq!(proxies(&config), []);
        let text = "# HTTPS_PROXY=http://old\n;\nRUST_LOG=debug\nLD_PRELOAD=/x\n\
                    HTTPS_PROXY=\"http://proxy:3128\"\n  no_proxy = a,b \nall_proxy='x'\nbad\n";
        std::fs::write(path(&config), text).unwrap();
        let found = proxies(&config);
        let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (&**a, &**b)).collect();
        assert_eq!(
            found,
            [
                ("HTTPS_PROXY", "http://proxy:3128"),
                ("no_proxy", "a,b"),
                ("all_proxy", "x")
            ]
        );
    }
}
