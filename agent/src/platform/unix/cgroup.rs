//! Cgroups of programs: all processes that a program starts stay in its cgroup.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use packcast_protocol::Sha256Digest;
use rustix::process::{Pid, Signal, kill_process};

use super::mount_point;

/// Maximum number of cgroups for one program name. Programs in the background may keep some of
/// them.
const MAX_SAME_NAME: u32 = 100;

/// The mechanism that groups all processes of a program.
#[derive(Clone, Debug)]
pub(crate) enum Containment {
    /// A cgroup for each program, below the agent's own cgroup.
    Cgroup {
        parent: PathBuf,
        /// The beginning of the names of this agent's cgroups.
        prefix: String,
    },
    /// A process group for each program.
    ProcessGroup,
}

impl Containment {
    /// Chooses cgroups if a writable mount of cgroup version 2 shows the agent's own cgroup.
    ///
    /// `state` is the agent's state folder, which distinguishes the names from those of other
    /// agents.
    pub(crate) fn find(state: &Path) -> Self {
        let read = |path| fs::read_to_string(path).ok();
        let own = read("/proc/self/cgroup").zip(read("/proc/self/mountinfo"));
        match own.and_then(|(own, mounts)| own_folder(&own, &mounts)) {
            Some(parent) => Self::below(parent, state),
            None => Self::ProcessGroup,
        }
    }

    fn below(parent: PathBuf, state: &Path) -> Self {
        let digest = Sha256Digest::of(state.as_os_str().as_encoded_bytes()).to_string();
        let prefix = format!("packcast-{}-", &digest[..8]);
        Self::Cgroup { parent, prefix }
    }

    /// Removes the cgroups of this agent that have no processes any more.
    pub(crate) fn remove_empty(&self) {
        let Self::Cgroup { parent, prefix } = self else {
            return;
        };
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let prefix = prefix.as_bytes();
        let own = entries.filter(|entry| {
            let name = entry.file_name();
            name.as_encoded_bytes().starts_with(prefix)
        });
        // The system refuses to remove a cgroup with processes.
        own.for_each(|entry| drop(fs::remove_dir(entry.path())));
    }

    /// Creates an empty cgroup for a program. Returns `None` if the program gets none.
    pub(super) fn create(&self, name: &str) -> Option<Cgroup> {
        let Self::Cgroup { parent, prefix } = self else {
            return None;
        };
        let each = (0..MAX_SAME_NAME).map(|n| match n {
            0 => parent.join(format!("{prefix}{name}")),
            n => parent.join(format!("{prefix}{name}.{n}")),
        });
        for path in each {
            match fs::create_dir(&path) {
                Ok(()) => return Some(Cgroup(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let found = Cgroup(path);
                    if found.is_populated() == Some(false) {
                        return Some(found);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, path = %path.display(), "cannot create a cgroup: using a process group");
                    return None;
                }
            }
        }
        None
    }
}

/// The cgroup of one program.
#[derive(Clone, Debug)]
pub(super) struct Cgroup(PathBuf);

impl Cgroup {
    pub(super) const fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Moves a process into the cgroup. Processes that it starts from now on are in it, too.
    pub(super) fn add(&self, process: Pid) -> io::Result<()> {
        let procs = self.0.join("cgroup.procs");
        let mut file = OpenOptions::new().write(true).open(procs)?;
        file.write_all(process.as_raw_nonzero().to_string().as_bytes())
    }

    /// Returns `true` if the cgroup or one below it has a process.
    ///
    /// Returns `None` if the state of the cgroup is unreadable.
    pub(super) fn is_populated(&self) -> Option<bool> {
        match fs::read_to_string(self.0.join("cgroup.events")) {
            Ok(events) => Some(events.lines().any(|line| line == "populated 1")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(false),
            Err(_) => None,
        }
    }

    /// Sends a signal to each process of the cgroup.
    pub(super) fn signal(&self, signal: Signal) {
        if signal == Signal::KILL && fs::write(self.0.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        // Linux before 5.14 has no `cgroup.kill`.
        let processes = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for process in processes.lines().filter_map(|id| id.parse().ok()) {
            if let Some(process) = Pid::from_raw(process) {
                // Ignored: the process may already be gone.
                let _ = kill_process(process, signal);
            }
        }
    }

    /// Removes the cgroup, unless a program in the background is in it.
    pub(super) fn remove(&self) {
        // The agent's next start tries again.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Returns the folder of the agent's own cgroup, if a mount of version 2 shows it.
///
/// `own` is the content of `/proc/self/cgroup`, `mounts` that of `/proc/self/mountinfo`.
fn own_folder(own: &str, mounts: &str) -> Option<PathBuf> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut folders = mounts.lines().filter_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let options = head.split(' ').nth(5)?;
        let is_writable = options.split(',').any(|option| option == "rw");
        if !tail.starts_with("cgroup2 ") || !is_writable {
            return None;
        }
        let root = head.split(' ').nth(3)?;
        let below = Path::new(own).strip_prefix(root).ok()?;
        Some(mount_point(line)?.join(below))
    });
    // The last mount on a folder is the visible one.
    folders.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_found_in_the_mounts() {
        let check = |own: &str, mounts: &str, expected: Option<&str>| {
            let found = own_folder(own, mounts);
            assert_eq!(found, expected.map(PathBuf::from), "{own} {mounts}");
        };
        let mount = |root: &str, point: &str, options: &str| {
            format!("31 23 0:28 {root} {point} {options},nosuid shared:9 - cgroup2 cgroup2 rw\n")
        };
        let service = "0::/system.slice/packcast-agent.service\n";
        check(
            service,
            &mount("/", "/sys/fs/cgroup", "rw"),
            Some("/sys/fs/cgroup/system.slice/packcast-agent.service"),
        );
        check(
            &format!("9:name=systemd:/x\n{service}"),
            &mount("/system.slice", "/sys/fs/cgroup/uni\\040fied", "rw"),
            Some("/sys/fs/cgroup/uni fied/packcast-agent.service"),
        );
        check("0::/\n", &mount("/", "/c", "rw"), Some("/c/"));
        check(service, &mount("/", "/sys/fs/cgroup", "ro"), None);
        check(service, &mount("/other", "/sys/fs/cgroup", "rw"), None);
        check("4:memory:/\n", &mount("/", "/sys/fs/cgroup", "rw"), None);
        check(service, "32 31 0:29 / /c rw - cgroup cgroup rw,cpu\n", None);
    }
}
