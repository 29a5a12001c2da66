//! Measurements of programs, for benchmarks that compare them.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::statfs;
use rustix::param::clock_ticks_per_second;

use crate::process::Ran;

/// Type of a file system in memory, from `linux/magic.h`.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// The length of the files that prepare the memory for a run, at most.
const MOST_PREPARED_BYTES: u64 = 2 << 30;
const PREPARED_FILE: &[u8] = &[1; 1 << 20];

/// Parses an argument with a path. A relative path begins at the root of the checkout, where recipes
/// run: Cargo starts a benchmark in the folder of its crate.
pub fn path_from_root<T: From<String>>(path: &str) -> Result<T, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let root = root.expect("the crate is in a folder of the checkout");
    let path = root.join(path).into_os_string().into_string();
    path.map(T::from)
        .map_err(|_| "the path is not UTF-8".to_owned())
}

/// Parses an argument with the path of a program, as [`path_from_root`] does.
pub fn program_from_root<T: From<String>>(path: &str) -> Result<T, String> {
    let program: String = path_from_root(path)?;
    if Path::new(&program).is_file() {
        Ok(program.into())
    } else {
        Err(format!("there is no program {program}"))
    }
}

/// The measurements of one run of a program.
#[derive(Clone, Copy, Debug)]
pub struct ProgramSample {
    pub took: Duration,
    /// Processor time, in user mode and in the system.
    pub cpu: Duration,
    pub peak_kib: u64,
}

impl ProgramSample {
    /// Runs a command to its end, which has to succeed.
    pub fn of(command: &mut Command) -> io::Result<(Ran, Self)> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let before = children_cpu()?;
        let started = Instant::now();
        let child = command.stderr(Stdio::piped()).spawn()?;
        let id = child.id();
        let waiting = std::thread::spawn(move || (child.wait_with_output(), Instant::now()));
        let mut peak_kib = 0;
        while !waiting.is_finished() {
            peak_kib = peak(id).unwrap_or(peak_kib);
            std::thread::sleep(Duration::from_millis(5));
        }
        let (output, ended) = waiting.join().expect("waiting does not panic");
        let sample = Self {
            took: ended - started,
            cpu: children_cpu()?.saturating_sub(before),
            peak_kib,
        };
        Ok((Ran::from(output?).expect_code(0), sample))
    }
}

/// Reads the peak of a process's memory in KiB; `None` if the process has ended.
pub fn peak(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Returns the processor time of all children that have ended.
fn children_cpu() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").expect("the format of proc(5)");
    // cutime and cstime: fields 16 and 17 of the whole line.
    let fields = fields.split(' ').skip(13).take(2);
    let ticks: u64 = fields.map(|ticks| ticks.parse().unwrap_or(0)).sum();
    Ok(Duration::from_millis(
        ticks * 1000 / clock_ticks_per_second(),
    ))
}

/// Returns the median, with the least and the most in parentheses.
pub fn spread(figures: impl Iterator<Item = f64>) -> String {
    spread_with(2, figures)
}

/// Returns the median and the spread with this number of decimals.
pub fn spread_with(decimals: usize, figures: impl Iterator<Item = f64>) -> String {
    let figures: Vec<f64> = figures.collect();
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let most = figures.iter().copied().fold(0.0, f64::max);
    let median = median(figures.into_iter());
    format!("{median:.decimals$} ({least:.decimals$} to {most:.decimals$})")
}

/// Returns the median; not a number without figures.
pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Returns the load of the machine in words.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let minute = load.split(' ').next().unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    format!("load of the last minute {minute} on {processors} processors")
}

/// Prepares the machine for a run that writes this many bytes to a folder, so that no program pays for
/// the one before: writes all changes to the disk, and uses the memory that the files will need.
///
/// The host of a virtual machine may take free memory back. Then the first write to a page takes many
/// times as long as the next one. Files prepare the memory for other files better than a buffer does.
pub fn settle(folder: &Path, bytes: u64) -> io::Result<()> {
    Command::new("sync").status()?;
    let folder = tempfile::tempdir_in(folder)?;
    for number in 0..(2 * bytes).min(MOST_PREPARED_BYTES) / PREPARED_FILE.len() as u64 {
        fs::write(folder.path().join(number.to_string()), PREPARED_FILE)?;
    }
    folder.close()
}

/// Returns `on disk` or `in memory`, by the file system of a folder.
pub fn medium(folder: &Path) -> &'static str {
    let found = statfs(folder).map(|it| u64::try_from(it.f_type).unwrap_or(0));
    if found == Ok(TMPFS_MAGIC) {
        "in memory"
    } else {
        "on disk"
    }
}

/// Returns true if a program is in `PATH`. Otherwise it prints the command that installs the program.
pub fn has_program(program: &str, install: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_installed = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !is_installed {
        skipped(program, install);
    }
    is_installed
}

/// Prints that a side is skipped, and the command that installs it.
pub fn skipped(side: &str, install: &str) {
    // Standard error may be closed.
    let _ = writeln!(
        io::stderr(),
        "skipped {side}, which is missing: run '{install}'"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_begin_at_the_root_of_the_checkout() {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").to_owned();
        for path in ["tests/Cargo.toml", &manifest] {
            assert_eq!(path_from_root(path), Ok(manifest.clone()));
            assert_eq!(program_from_root(path), Ok(manifest.clone()));
        }
        let missing = program_from_root::<String>("/no/program");
        assert_eq!(missing, Err("there is no program /no/program".to_owned()));
    }
}
