//! The counts in an output file of callgrind.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// The functions of the C library that allocate. The allocator of Rust calls them, too.
const ALLOCATORS: [&str; 5] = [
    "malloc",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
];

/// The counts of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallgrindCounts {
    pub(crate) instructions: u64,
    pub(crate) allocations: u64,
}

impl CallgrindCounts {
    /// Reads the file that callgrind has written, or the files of its threads.
    pub(crate) fn read(file: &Path) -> Self {
        let text = fs::read_to_string(file).expect("callgrind has written its counts");
        Self::parse(&text)
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
