//! The form of the history on disk: a chain of lines.
//!
//! A line is `<number> <owner>:<owner> <previous> <digest> <JSON>`. The owner is the id of the
//! record's package, or `all`. It stands twice, and apart from the record, so that it survives a
//! change of the line. `previous` is the SHA-256 of the line before, and `digest` the SHA-256 of
//! the rest of the line itself.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::{PackageId, Sha256Digest};

use super::Record;

/// The owner of a record that concerns all packages.
const ALL: &str = "all";

/// The end of a chain, which the next line continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChainEnd {
    /// The number of the last line, from 1.
    number: u64,
    digest: Sha256Digest,
}

impl Default for ChainEnd {
    /// Returns the end of an empty chain.
    fn default() -> Self {
        Self {
            number: 0,
            digest: Sha256Digest::of(b""),
        }
    }
}

impl ChainEnd {
    /// Returns the line of the next record, with its line end, and the chain's end after it.
    pub(super) fn append(self, record: &Record) -> serde_json::Result<(Vec<u8>, Self)> {
        let json = serde_json::to_string(record)?;
        let owner = record
            .package()
            .map_or_else(|| ALL.to_owned(), |id| id.to_string());
        let number = self.number + 1;
        let head = format!("{number} {owner}:{owner} {}", self.digest);
        let digest = digest(&head, &json);
        let line = format!("{head} {digest} {json}\n").into_bytes();
        let digest = Sha256Digest::of(&line);
        Ok((line, Self { number, digest }))
    }
}

/// Returns the lines of these records, as a new chain, and the chain's end.
pub(super) fn write<'a>(
    records: impl IntoIterator<Item = &'a Record>,
) -> serde_json::Result<(Vec<u8>, ChainEnd)> {
    let (mut bytes, mut end) = (Vec::new(), ChainEnd::default());
    for record in records {
        let line;
        (line, end) = end.append(record)?;
        bytes.extend(line);
    }
    Ok((bytes, end))
}

fn digest(head: &str, json: &str) -> Sha256Digest {
    Sha256Digest::of(format!("{head} {json}").as_bytes())
}

/// The content of one file of the history.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// The readable records, by the number of their line.
    pub(super) records: BTreeMap<u64, Record>,
    /// The unreadable parts between line ends.
    pub(super) damaged: Vec<DamagedLine>,
    /// `true` if a readable line does not continue the line before.
    pub(super) is_broken: bool,
    end: ChainEnd,
}

/// An unreadable part of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DamagedLine {
    /// The packages of the lines, as far as they can be read, one set for each line.
    pub(super) owners: Vec<BTreeSet<PackageId>>,
    /// The number of the last readable line before the part, or 0.
    pub(super) after: u64,
    /// `true` if the part has no line end. A power failure leaves such a last line.
    pub(super) is_torn: bool,
}

impl Chain {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut chain = Self::default();
        // `None` after a damaged line, whose digest is unknown.
        let mut before = Some(ChainEnd::default());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some((number, previous, record)) = read(line) else {
                let after = chain.last_number();
                chain.damaged.push(DamagedLine::parse(line, after));
                before = None;
                continue;
            };
            let continues =
                before.is_none_or(|end| (end.number + 1, end.digest) == (number, previous));
            let is_later = chain
                .records
                .last_key_value()
                .is_none_or(|(last, _)| *last < number);
            chain.is_broken |= !continues || !is_later;
            let end = ChainEnd {
                number,
                digest: Sha256Digest::of(line),
            };
            chain.records.entry(number).or_insert(record);
            (chain.end, before) = (end, Some(end));
        }
        chain
    }

    /// Returns `true` if every line is readable and continues the line before.
    pub(super) fn is_whole(&self) -> bool {
        self.damaged.is_empty() && !self.is_broken
    }

    /// Returns the number of the last readable line.
    pub(super) fn last_number(&self) -> u64 {
        self.records
            .last_key_value()
            .map_or(0, |(number, _)| *number)
    }

    /// Returns the chain's end. Only the end of a whole chain may be continued.
    pub(super) const fn end(&self) -> ChainEnd {
        self.end
    }

    /// Returns `true` if the file has only the damage of an append that a power failure cut off.
    pub(super) fn is_only_torn(&self) -> bool {
        !self.is_broken && matches!(&self.damaged[..], [line] if line.is_torn)
    }
}

impl DamagedLine {
    /// Returns the number of lines whose package can be read.
    pub(super) fn lines(&self) -> u64 {
        self.owners.len() as u64
    }

    fn parse(line: &[u8], after: u64) -> Self {
        let text = String::from_utf8_lossy(line);
        let owners = text.split([' ', '\n']).map(owners);
        Self {
            owners: owners.filter(|owners| !owners.is_empty()).collect(),
            after,
            is_torn: !line.ends_with(b"\n"),
        }
    }
}

/// Reads the packages of a word `<owner>:<owner>`, of which one owner may be damaged.
fn owners(word: &str) -> BTreeSet<PackageId> {
    let Some((one, other)) = word.split_once(':') else {
        return BTreeSet::new();
    };
    [one, other]
        .into_iter()
        .filter_map(|owner| owner.parse().ok())
        .collect()
}

/// Reads the number, the digest of the line before, and the record of a line.
fn read(line: &[u8]) -> Option<(u64, Sha256Digest, Record)> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let mut words = line.splitn(5, ' ');
    let [number, owner, previous, stated, json] = [(); 5].map(|()| words.next());
    let (number, owner, previous, stated, json) = (number?, owner?, previous?, stated?, json?);
    if digest(&format!("{number} {owner} {previous}"), json).to_string() != stated {
        return None;
    }
    let record = serde_json::from_str(json).ok()?;
    Some((number.parse().ok()?, previous.parse().ok()?, record))
}

/// Returns `true` if the file is a history of an agent before the chain.
pub(super) fn is_of_an_older_agent(bytes: &[u8]) -> bool {
    let word = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
    word.len() == 64 && word.iter().all(u8::is_ascii_hexdigit)
}
