//! The person at this machine, for the history of a target.

use packcast_publisher::Author;

/// Environment variables with the name of the user account, the most common first.
const USER: [&str; 3] = ["USER", "LOGNAME", "USERNAME"];

/// Returns the names of user and machine. A name is empty if the system does not tell it.
pub(crate) fn find() -> Author {
    let mut names = USER.iter().filter_map(|name| std::env::var(name).ok());
    Author {
        user: names.find(|name| !name.is_empty()).unwrap_or_default(),
        host: host(),
    }
}

#[cfg(unix)]
fn host() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

#[cfg(all(test, unix))]
mod tests {
    #[test]
    fn the_machine_has_a_name() {
        assert!(!super::find().host.is_empty());
    }
}
