//! A tracer that stops a process at each of its effects, with ptrace.
//!
//! The process is unchanged and does not know of the tracer. Programs that it starts are not
//! stopped.

use std::collections::HashMap;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::effect::{Begun, EffectKind, EffectTarget};
use super::labels::Labels;
use crate::process::eventually;

/// Script of a shell that stops itself before it becomes the program in its arguments.
const STOPPED: &str = r#"kill -STOP $$; exec "$@""#;

/// The shell that [`trace`] starts, before the program and its arguments.
pub(super) const LAUNCHER: [&str; 4] = ["/bin/sh", "-c", STOPPED, "sh"];

/// An effect of a process, with the same name in every run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TracedEffect {
    pub(super) kind: EffectKind,
    pub(super) object: String,
    /// The number of the effect among those of its kind on this object, from 1.
    pub(super) ordinal: u32,
    /// Half of the effect can be done.
    pub(super) halves: bool,
}

/// The place in a system call at which a process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Before,
    /// After the call, with its return value; a negative value is an error.
    After(i64),
}

/// The tracer's order for a stopped process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Go,
    /// Continue, but write only half of the bytes.
    Tear,
    /// Kill the process as SIGKILL does; an effect that has not begun is not done.
    Die,
}

/// The end of a traced process.
#[derive(Debug)]
pub(super) struct TraceEnd {
    /// The exit code, `None` if the process was killed.
    pub(super) code: Option<i32>,
    pub(super) output: String,
}

/// Runs a command that begins with [`LAUNCHER`], and calls `watch` at each of its effects.
///
/// Returns when the process has ended. Programs that it has started may still run.
pub(super) fn trace(
    command: &mut Command,
    labels: &Labels<'_>,
    mut watch: impl FnMut(&TracedEffect, Stop) -> Next,
) -> std::io::Result<TraceEnd> {
    let mut child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let process = i32::try_from(child.id()).expect("a process's id is positive");
    let code = Tracer::attach(Pid::from_raw(process), labels)?.run(&mut watch)?;
    let mut output = String::new();
    let mut pipe = child.stdout.take().expect("the output is piped");
    pipe.read_to_string(&mut output)?;
    Ok(TraceEnd { code, output })
}

/// Follows a process that has stopped itself, and calls `watch` at each effect of its next program.
///
/// `group` is its process group. The process need not be a child of this one.
pub(super) fn trace_stopped(
    process: u32,
    group: u32,
    labels: &Labels<'_>,
    mut watch: impl FnMut(&TracedEffect, Stop) -> Next,
) -> std::io::Result<()> {
    let pid = |id: u32| Pid::from_raw(i32::try_from(id).expect("a process's id is positive"));
    eventually("the process has stopped itself", || {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        fields.starts_with('T').then_some(())
    });
    Tracer::follow(pid(process), pid(group), labels)?.run(&mut watch)?;
    Ok(())
}

struct Tracer<'a> {
    process: Pid,
    /// The process group of the process.
    group: Pid,
    labels: &'a Labels<'a>,
    /// The launcher has become the program.
    began: bool,
    /// The number of effects so far, by kind and object.
    counts: HashMap<(EffectKind, String), u32>,
    /// The unfinished effects, by thread.
    effects: HashMap<Pid, TracedEffect>,
    /// The number of each open connection, by descriptor.
    connections: HashMap<i32, i32>,
    connected: i32,
}

impl<'a> Tracer<'a> {
    /// Attaches to a launcher that has stopped itself.
    fn attach(process: Pid, labels: &'a Labels<'a>) -> nix::Result<Self> {
        let stopped = waitpid(process, Some(WaitPidFlag::WUNTRACED))?;
        assert_eq!(stopped, WaitStatus::Stopped(process, Signal::SIGSTOP));
        Self::follow(process, process, labels)
    }

    /// Follows a process that has stopped itself.
    fn follow(process: Pid, group: Pid, labels: &'a Labels<'a>) -> nix::Result<Self> {
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(process, options)?;
        kill(process, Signal::SIGCONT)?;
        Ok(Self {
            process,
            group,
            labels,
            began: false,
            counts: HashMap::new(),
            effects: HashMap::new(),
            connections: HashMap::new(),
            connected: 0,
        })
    }

    /// Runs the process and returns its exit code, `None` if it was killed.
    fn run(
        mut self,
        watch: &mut impl FnMut(&TracedEffect, Stop) -> Next,
    ) -> nix::Result<Option<i32>> {
        // Waits for the threads of this process only, because the test may have other children: those
        // of other threads may even be in the same group.
        let threads = Pid::from_raw(-self.group.as_raw());
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            match waitpid(threads, Some(flags))? {
                WaitStatus::Exited(thread, code) if thread == self.process => {
                    return Ok(Some(code));
                }
                WaitStatus::Signaled(thread, ..) if thread == self.process => return Ok(None),
                WaitStatus::PtraceSyscall(thread) => {
                    unless_gone(self.at_call(thread, watch))?;
                }
                WaitStatus::PtraceEvent(thread, _, event) => {
                    self.began |= event == libc::PTRACE_EVENT_EXEC;
                    unless_gone(ptrace::syscall(thread, None))?;
                }
                WaitStatus::Stopped(thread, signal) => {
                    unless_gone(ptrace::syscall(thread, signal))?;
                }
                _ => {}
            }
        }
    }

    fn at_call(
        &mut self,
        thread: Pid,
        watch: &mut impl FnMut(&TracedEffect, Stop) -> Next,
    ) -> nix::Result<()> {
        let next = if !self.began {
            Next::Go
        } else if ptrace::syscall_info(thread)?.op == libc::PTRACE_SYSCALL_INFO_ENTRY {
            self.before(thread, watch)?
        } else {
            self.after(thread, watch)?
        };
        match next {
            Next::Go => {}
            Next::Tear => tear(thread)?,
            Next::Die => return kill(self.process, Signal::SIGKILL),
        }
        ptrace::syscall(thread, None)
    }

    fn before(
        &mut self,
        thread: Pid,
        watch: &mut impl FnMut(&TracedEffect, Stop) -> Next,
    ) -> nix::Result<Next> {
        let begun = begun(thread)?;
        if begun.number == libc::SYS_close {
            self.connections.remove(&begun.descriptor(0));
        }
        let known = |descriptor| self.connections.contains_key(&descriptor);
        let Some(mut call) = begun.effect(known) else {
            return Ok(Next::Go);
        };
        if let EffectTarget::Connection(descriptor) = &mut call.object {
            if call.kind == EffectKind::Connect {
                self.connected += 1;
                self.connections.insert(*descriptor, self.connected);
            }
            *descriptor = self.connections[descriptor];
        }
        let mut effect = TracedEffect {
            kind: call.kind,
            object: self.labels.name(&call.object),
            ordinal: 0,
            halves: call.bytes.is_some_and(|bytes| bytes > 1),
        };
        let next = if effect.kind == EffectKind::Receive {
            // A read is counted only if bytes have arrived.
            Next::Go
        } else {
            self.count(&mut effect);
            watch(&effect, Stop::Before)
        };
        self.effects.insert(thread, effect);
        Ok(next)
    }

    fn after(
        &mut self,
        thread: Pid,
        watch: &mut impl FnMut(&TracedEffect, Stop) -> Next,
    ) -> nix::Result<Next> {
        let Some(mut effect) = self.effects.remove(&thread) else {
            return Ok(Next::Go);
        };
        let returned = ptrace::getregs(thread)?.rax.cast_signed();
        if effect.kind == EffectKind::Receive {
            if returned <= 0 {
                return Ok(Next::Go);
            }
            self.count(&mut effect);
        }
        Ok(watch(&effect, Stop::After(returned)))
    }

    fn count(&mut self, effect: &mut TracedEffect) {
        let key = (effect.kind, effect.object.clone());
        let count = self.counts.entry(key).or_default();
        *count += 1;
        effect.ordinal = *count;
    }
}

fn begun(thread: Pid) -> nix::Result<Begun> {
    let registers = ptrace::getregs(thread)?;
    Ok(Begun {
        thread,
        number: registers.orig_rax.cast_signed(),
        arguments: [
            registers.rdi,
            registers.rsi,
            registers.rdx,
            registers.r10,
            registers.r8,
            registers.r9,
        ],
    })
}

/// Halves the length that a call is going to write.
fn tear(thread: Pid) -> nix::Result<()> {
    let mut registers = ptrace::getregs(thread)?;
    registers.rdx /= 2;
    ptrace::setregs(thread, registers)
}

/// Ignores that a thread was killed in the meantime.
fn unless_gone(result: nix::Result<()>) -> nix::Result<()> {
    match result {
        Err(Errno::ESRCH) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;

    /// Runs a shell that writes eight bytes into a file, and kills it as `watch` decides.
    fn check(
        watch: impl Fn(&TracedEffect, Stop) -> Next,
        expected: Option<&str>,
        code: Option<i32>,
    ) {
        let place = tempfile::tempdir().unwrap();
        let script = "printf whole-ly > file; /bin/true; exit 5";
        let [shell, launcher @ ..] = LAUNCHER;
        let mut command = Command::new(shell);
        command
            .args(launcher)
            .args(["/bin/sh", "-c", script])
            .current_dir(place.path());
        let packages = BTreeMap::new();
        let labels = Labels::new(place.path(), &packages);
        let ended = trace(&mut command, &labels, |effect, stop| {
            if effect.object == "file" {
                watch(effect, stop)
            } else {
                Next::Go
            }
        });
        assert_eq!(ended.unwrap().code, code);
        let left = fs::read_to_string(place.path().join("file")).ok();
        assert_eq!(left.as_deref(), expected);
    }

    fn die_if(die: bool) -> Next {
        if die { Next::Die } else { Next::Go }
    }

    #[test]
    fn an_effect_is_not_done_if_the_process_dies_before_it() {
        let before = |kind| {
            move |effect: &TracedEffect, stop| die_if(effect.kind == kind && stop == Stop::Before)
        };
        check(before(EffectKind::Create), None, None);
        check(before(EffectKind::Write), Some(""), None);
        check(before(EffectKind::Rename), Some("whole-ly"), Some(5));
    }

    #[test]
    fn an_effect_is_done_if_the_process_dies_after_it() {
        let after = |kind| {
            move |effect: &TracedEffect, stop| {
                die_if(effect.kind == kind && matches!(stop, Stop::After(_)))
            }
        };
        check(after(EffectKind::Create), Some(""), None);
        check(after(EffectKind::Write), Some("whole-ly"), None);
    }

    #[test]
    fn a_torn_write_leaves_half() {
        let torn = |effect: &TracedEffect, stop| match (effect.kind, stop) {
            (EffectKind::Write, Stop::Before) => Next::Tear,
            (EffectKind::Write, Stop::After(_)) => Next::Die,
            _ => Next::Go,
        };
        check(torn, Some("whol"), None);
    }
}
