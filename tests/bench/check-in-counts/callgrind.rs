//! A process under valgrind, and the counts in its output file.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use packcast_tests::process::{Ran, text};

/// The functions of the C library that allocate. The allocator of Rust calls them, too.
const ALLOCATORS: [&str; 5] = [
    "malloc",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
];

/// Calls `work` while valgrind counts instructions. The parameter has a type without a name, because
/// valgrind finds this function by its name, and must not find others whose names contain it.
#[inline(never)]
pub(crate) fn counted_work(work: &mut dyn FnMut()) {
    work();
    // Otherwise the call would be a jump, and the function would end before it.
    black_box(work);
}

/// The tool `callgrind` of valgrind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Valgrind<'a> {
    /// The folder for the output files.
    pub(crate) folder: &'a Path,
}

impl Valgrind<'_> {
    /// Runs this program again with other arguments. Returns the counts, and its output.
    pub(crate) fn count(&self, name: &str, words: &[OsString]) -> (CallgrindCounts, String) {
        let file = self.folder.join(format!("{name}.callgrind"));
        let program = std::env::current_exe().expect("a program knows its file");
        let mut command = Command::new("valgrind");
        command
            .args(["--quiet", "--tool=callgrind"])
            .arg("--toggle-collect=*counted_work*")
            .arg(format!("--callgrind-out-file={}", text(&file)))
            .arg(program)
            .args(words);
        let ran = Ran::of(&mut command).expect_code(0);
        let counts = fs::read_to_string(&file).expect("callgrind has written its counts");
        let counts = CallgrindCounts::parse(&counts);
        (counts, ran.stdout.trim().to_owned())
    }
}

/// The counts of one run. Valgrind counts calls of functions in the whole process, so only the difference
/// of two runs is the number of allocations of some work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallgrindCounts {
    pub(crate) instructions: u64,
    pub(crate) allocations: u64,
}

impl CallgrindCounts {
    /// Returns the counts without those of a part.
    pub(crate) const fn without(self, part: Self) -> Self {
        Self {
            instructions: self.instructions.saturating_sub(part.instructions),
            allocations: self.allocations.saturating_sub(part.allocations),
        }
    }

    /// Returns the mean of several repetitions.
    pub(crate) const fn of_each(self, repeats: usize) -> Self {
        let repeats = repeats as u64;
        Self {
            instructions: self.instructions / repeats,
            allocations: self.allocations / repeats,
        }
    }

    /// Returns the instructions in thousands.
    pub(crate) fn thousands(self) -> f64 {
        let thousands = u32::try_from(self.instructions / 1_000);
        thousands.unwrap_or(u32::MAX).into()
    }

    /// Parses the format of callgrind: a function has its name once, and then a number only.
    fn parse(text: &str) -> Self {
        let mut names = HashMap::new();
        let mut called = "";
        let mut counts = Self::default();
        for line in text.lines() {
            if let Some(total) = line.strip_prefix("totals: ") {
                counts.instructions = total.trim().parse().expect("a count of instructions");
            } else if let Some(name) = line.strip_prefix("cfn=") {
                called = named(name, &mut names);
            } else if let Some(name) = line.strip_prefix("fn=") {
                named(name, &mut names);
            } else if let Some(calls) = line.strip_prefix("calls=")
                && ALLOCATORS.contains(&called)
            {
                let calls = calls.split(' ').next().and_then(|count| count.parse().ok());
                counts.allocations += calls.unwrap_or(0_u64);
            }
        }
        counts
    }
}

/// Returns the name of a function, such as `(7) malloc` or, once that was read, `(7)`.
fn named<'a>(text: &'a str, names: &mut HashMap<&'a str, &'a str>) -> &'a str {
    match text.split_once(' ') {
        Some((number, name)) => {
            names.insert(number, name);
            name
        }
        None => names.get(text).copied().unwrap_or_default(),
    }
}
