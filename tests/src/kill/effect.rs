//! Effects of system calls: changes of files, network traffic, and started programs.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::libc;
use nix::unistd::Pid;

/// The kinds of effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EffectKind {
    /// Creates or truncates a file.
    Create,
    Write,
    Sync,
    /// Writes all changes of a volume to disk.
    SyncVolume,
    Resize,
    SetMode,
    Rename,
    /// Creates a hard or symbolic link.
    Link,
    Remove,
    MakeFolder,
    Connect,
    Send,
    /// Receives bytes.
    Receive,
    /// Starts a program.
    Spawn,
    /// Lets a started program run, which waits for a line of its input.
    Release,
}

impl EffectKind {
    pub const ALL: [Self; 15] = [
        Self::Create,
        Self::Write,
        Self::Sync,
        Self::SyncVolume,
        Self::Resize,
        Self::SetMode,
        Self::Rename,
        Self::Link,
        Self::Remove,
        Self::MakeFolder,
        Self::Connect,
        Self::Send,
        Self::Receive,
        Self::Spawn,
        Self::Release,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::SyncVolume => "sync-volume",
            Self::Resize => "resize",
            Self::SetMode => "set-mode",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Remove => "remove",
            Self::MakeFolder => "make-folder",
            Self::Connect => "connect",
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Spawn => "spawn",
            Self::Release => "release",
        }
    }
}

impl fmt::Display for EffectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for EffectKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|kind| kind.name() == text);
        named.ok_or_else(|| format!("{text:?} is not a kind of effect"))
    }
}

/// The object that an effect changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EffectTarget {
    /// A file or folder; of two paths, the one that exists afterwards.
    Path(PathBuf),
    /// The connection with this descriptor.
    Connection(i32),
    Program,
}

/// A system call with an effect, at its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) kind: EffectKind,
    pub(super) object: EffectTarget,
    /// The number of bytes that it writes, if half of them can be left out.
    pub(super) bytes: Option<u64>,
}

impl Call {
    const fn new(kind: EffectKind, object: EffectTarget) -> Self {
        Self {
            kind,
            object,
            bytes: None,
        }
    }
}

/// A system call that a thread has begun: its number, and its arguments.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) thread: Pid,
    pub(super) number: i64,
    pub(super) arguments: [u64; 6],
}

impl Begun {
    /// Returns the effect of the call, `None` if nothing of it lasts.
    ///
    /// A descriptor that is neither a file nor one of `connections` belongs to the process itself
    /// or to its parent.
    pub(super) fn effect(&self, connections: impl Fn(i32) -> bool) -> Option<Call> {
        let at = |kind, index| Some(Call::new(kind, EffectTarget::Path(self.path(index)?)));
        let path_at = |kind, index| Some(Call::new(kind, EffectTarget::Path(self.path_at(index)?)));
        let file = |kind| Some(Call::new(kind, EffectTarget::Path(self.file(0)?)));
        let connection = |kind| {
            let descriptor = self.descriptor(0);
            let object = EffectTarget::Connection(descriptor);
            connections(descriptor).then(|| Call::new(kind, object))
        };
        let whole = |call: Call| Call {
            bytes: Some(self.arguments[2]),
            ..call
        };
        match self.number {
            libc::SYS_open if makes(self.arguments[1]) => at(EffectKind::Create, 0),
            libc::SYS_openat if makes(self.arguments[2]) => path_at(EffectKind::Create, 0),
            libc::SYS_openat2 if makes(self.number_at(self.arguments[2])) => {
                path_at(EffectKind::Create, 0)
            }
            libc::SYS_creat => at(EffectKind::Create, 0),
            libc::SYS_write | libc::SYS_pwrite64 => connection(EffectKind::Send)
                .or_else(|| file(EffectKind::Write))
                .map(whole)
                .or_else(|| self.release()),
            libc::SYS_writev | libc::SYS_pwritev | libc::SYS_pwritev2 => {
                connection(EffectKind::Send).or_else(|| file(EffectKind::Write))
            }
            libc::SYS_sendfile => connection(EffectKind::Send).or_else(|| file(EffectKind::Write)),
            libc::SYS_copy_file_range => Some(Call::new(
                EffectKind::Write,
                EffectTarget::Path(self.file(2)?),
            )),
            libc::SYS_fsync | libc::SYS_fdatasync | libc::SYS_sync_file_range => {
                file(EffectKind::Sync)
            }
            libc::SYS_syncfs => file(EffectKind::SyncVolume),
            libc::SYS_ftruncate | libc::SYS_fallocate => file(EffectKind::Resize),
            libc::SYS_truncate => at(EffectKind::Resize, 0),
            libc::SYS_fchmod => file(EffectKind::SetMode),
            libc::SYS_chmod => at(EffectKind::SetMode, 0),
            libc::SYS_fchmodat => path_at(EffectKind::SetMode, 0),
            libc::SYS_rename => at(EffectKind::Rename, 1),
            libc::SYS_renameat | libc::SYS_renameat2 => path_at(EffectKind::Rename, 2),
            libc::SYS_link | libc::SYS_symlink => at(EffectKind::Link, 1),
            libc::SYS_linkat => path_at(EffectKind::Link, 2),
            libc::SYS_symlinkat => path_at(EffectKind::Link, 1),
            libc::SYS_unlink | libc::SYS_rmdir => at(EffectKind::Remove, 0),
            libc::SYS_unlinkat => path_at(EffectKind::Remove, 0),
            libc::SYS_mkdir => at(EffectKind::MakeFolder, 0),
            libc::SYS_mkdirat => path_at(EffectKind::MakeFolder, 0),
            libc::SYS_connect if self.is_internet(self.arguments[1]) => {
                let object = EffectTarget::Connection(self.descriptor(0));
                Some(Call::new(EffectKind::Connect, object))
            }
            libc::SYS_sendto => connection(EffectKind::Send).map(whole),
            libc::SYS_sendmsg | libc::SYS_sendmmsg => connection(EffectKind::Send),
            libc::SYS_read | libc::SYS_readv | libc::SYS_recvfrom | libc::SYS_recvmsg => {
                connection(EffectKind::Receive)
            }
            libc::SYS_fork | libc::SYS_vfork => {
                Some(Call::new(EffectKind::Spawn, EffectTarget::Program))
            }
            libc::SYS_clone => spawns(self.arguments[0]),
            libc::SYS_clone3 => spawns(self.number_at(self.arguments[0])),
            _ => None,
        }
    }

    /// Returns an argument that is a descriptor.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the kernel reads the lower half of the register"
    )]
    pub(super) const fn descriptor(&self, index: usize) -> i32 {
        (self.arguments[index] as u32).cast_signed()
    }

    /// Returns the path in an argument.
    fn path(&self, index: usize) -> Option<PathBuf> {
        let folder = fs::read_link(format!("/proc/{}/cwd", self.thread)).ok()?;
        Some(folder.join(self.text(self.arguments[index])?))
    }

    /// Returns the path in two arguments: a folder's descriptor, and a path in the folder.
    fn path_at(&self, index: usize) -> Option<PathBuf> {
        if self.descriptor(index) == libc::AT_FDCWD {
            return self.path(index + 1);
        }
        let folder = self.opened(index)?;
        Some(folder.join(self.text(self.arguments[index + 1])?))
    }

    /// Returns the path of an open file that keeps its content.
    ///
    /// A file of the kernel's interfaces takes each write as a whole, so a torn write would be
    /// another command to the kernel.
    fn file(&self, index: usize) -> Option<PathBuf> {
        const INTERFACES: [&str; 3] = ["/dev", "/proc", "/sys"];
        let path = self.opened(index)?;
        let is_interface = INTERFACES.iter().any(|folder| path.starts_with(folder));
        (path.is_absolute() && !is_interface).then_some(path)
    }

    /// Returns the effect of a write to the input of a program.
    ///
    /// The agent writes to no other pipe but its own output.
    fn release(&self) -> Option<Call> {
        let opened = self.opened(0)?;
        let is_pipe = opened.to_string_lossy().starts_with("pipe:");
        let is_output = self.descriptor(0) <= libc::STDERR_FILENO;
        (is_pipe && !is_output).then(|| Call::new(EffectKind::Release, EffectTarget::Program))
    }

    fn opened(&self, index: usize) -> Option<PathBuf> {
        let descriptor = self.descriptor(index);
        fs::read_link(format!("/proc/{}/fd/{descriptor}", self.thread)).ok()
    }

    fn is_internet(&self, address: u64) -> bool {
        let mut family = [0; 2];
        self.read(address, &mut family) == family.len()
            && [libc::AF_INET, libc::AF_INET6].contains(&u16::from_ne_bytes(family).into())
    }

    /// Returns a 64-bit number in the process's memory, or 0 if it cannot be read.
    fn number_at(&self, address: u64) -> u64 {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes);
        u64::from_ne_bytes(bytes)
    }

    fn text(&self, address: u64) -> Option<PathBuf> {
        let mut bytes = [0; libc::PATH_MAX as usize];
        let read = self.read(address, &mut bytes);
        let end = bytes[..read].iter().position(|byte| *byte == 0)?;
        Some(Path::new(OsStr::from_bytes(&bytes[..end])).to_owned())
    }

    /// Reads the process's memory, possibly fewer bytes than asked for.
    fn read(&self, address: u64, bytes: &mut [u8]) -> usize {
        let memory = File::open(format!("/proc/{}/mem", self.thread));
        memory
            .and_then(|memory| memory.read_at(bytes, address))
            .unwrap_or(0)
    }
}

/// Returns whether a file that is opened with these flags is created or truncated.
const fn makes(flags: u64) -> bool {
    flags & (libc::O_CREAT | libc::O_TRUNC) as u64 != 0
}

/// Returns the effect of starting a process, or `None` for a new thread.
fn spawns(flags: u64) -> Option<Call> {
    let thread = flags & libc::CLONE_THREAD as u64 != 0;
    (!thread).then(|| Call::new(EffectKind::Spawn, EffectTarget::Program))
}
