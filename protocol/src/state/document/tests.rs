use std::collections::BTreeMap;

use proptest::prelude::*;

use super::entry::tests::entry;
use super::*;
use crate::causes::messages;
use crate::group::GroupName;
use crate::location::Location;
use crate::pacing::{PacingOverride, UpTo};

fn entries(numbers: impl IntoIterator<Item = u32>) -> Entries {
    Entries::new(numbers.into_iter().map(entry).collect()).unwrap()
}

fn groups(names: impl IntoIterator<Item = String>) -> DeviceGroups {
    let parse = |name: String| name.parse::<GroupName>().unwrap();
    DeviceGroups::new(names.into_iter().map(parse).collect()).unwrap()
}

fn read<T: StateDocument>(text: &str) -> Result<Document<T>, DocumentError> {
    Document::read(DocumentText::new(text.to_owned()).unwrap())
}

/// The largest number of entries, each of the largest size.
fn largest_entries() -> Entries {
    let terms = |length: usize| {
        let value = "x".repeat(length - r#"{"a":""}"#.len());
        Terms::new(BTreeMap::from([("a".parse().unwrap(), value.into())]))
    };
    assert!(terms(MAX_TERMS_BYTES + 1).is_err());
    let terms = terms(MAX_TERMS_BYTES).unwrap();
    let largest = |n| StateEntry {
        seq: u64::MAX,
        force: false,
        terms: terms.clone(),
        ..entry(n)
    };
    Entries::new((0..1000).map(largest).collect()).unwrap()
}

#[test]
fn the_largest_documents_fit() {
    let mut group = GroupDocument::empty(u64::MAX);
    group.packages = largest_entries();
    group.prefer = Some("x".repeat(32).parse().unwrap());
    group.pace = PacingOverride {
        fragment_pause_s: UpTo::new(3_600),
        cycle_pause_s: UpTo::new(3_600),
        period_pause_s: UpTo::new(3_600),
        contact_every_h: UpTo::new(168),
        timeout_days: UpTo::new(3_650),
        strict: Some(false),
    };
    let names = (0..MAX_DEVICE_GROUPS).map(|n| format!("{n:048}"));
    let device = DeviceDocument::new(groups(names), largest_entries());
    // Quotation marks take two bytes in JSON, and no other printable character takes more than in
    // UTF-8.
    let long = "\"".repeat(2_000);
    let about = AboutDocument::shortened(&long, &long, &long, &long);
    let location = LocationDocument::new(Location::longest());
    let lengths = [
        Document::new(group).text().as_str().len(),
        Document::new(device).text().as_str().len(),
        Document::new(about).text().as_str().len(),
        Document::new(location).text().as_str().len(),
    ];
    assert!(lengths.iter().all(|length| *length <= MAX_TEXT_BYTES));
}

#[test]
fn a_reader_keeps_the_exact_text() {
    let text = r#"{ "url": "cdn.example.net", "schema": 2 }"#;
    let document = read::<LocationDocument>(text).unwrap();
    assert_eq!(document.text().as_str(), text);
    assert_eq!(document.digest(), Sha256Digest::of(text.as_bytes()));
    let json = serde_json::to_string(document.text()).unwrap();
    let sent: DocumentText = serde_json::from_str(&json).unwrap();
    assert_eq!(sent, *document.text());
    let written = Document::new(LocationDocument::new(document.url.clone()));
    let short = r#"{"schema":2,"url":"cdn.example.net"}"#;
    assert_eq!(written.text().as_str(), short);
    assert_eq!(*written, *document);
}

#[test]
fn a_group_document_has_every_field_in_a_fixed_order() {
    let mut group = GroupDocument::empty(7);
    assert_eq!(
        Document::new(group.clone()).text().as_str(),
        r#"{"schema":2,"revision":7,"packages":[],"prefer":null,"pace":{}}"#
    );
    group.prefer = Some("main".parse().unwrap());
    group.pace.strict = Some(true);
    group.pace.cycle_pause_s = UpTo::new(5);
    let text = r#"{"schema":2,"revision":7,"packages":[],"prefer":"main","pace":{"cycle_pause_s":5,"strict":true}}"#;
    assert_eq!(Document::new(group.clone()).text().as_str(), text);
    assert_eq!(*read::<GroupDocument>(text).unwrap(), group);
}

#[test]
fn unknown_fields_and_schemas_make_a_document_unreadable() {
    let mut group = GroupDocument::empty(7);
    group.packages = entries([1]);
    let text = Document::new(group).text().as_str().to_owned();
    assert!(read::<GroupDocument>(&text).is_ok());
    for (from, to) in [
        ("\"schema\":2", "\"schema\":3"),
        ("\"schema\":2,", ""),
        ("\"revision\":7", "\"revision\":7,\"windows\":[]"),
        ("\"force\":", "\"not_before\":1,\"force\":"),
        ("\"force\":false,", ""),
        ("\"pace\":{", "\"pace\":{\"nightly\":1"),
        ("\"prefer\":null", "\"prefer\":\"Main\""),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        let newer = text.replacen(from, to, 1);
        assert!(read::<GroupDocument>(&newer).is_err(), "{to}");
    }
    for text in [
        r#"{"schema":2,"groups":["all"],"packages":[]}"#,
        r#"{"schema":2,"groups":[],"packages":[],"x":1}"#,
        r#"{"schema":1,"groups":[],"packages":[]}"#,
    ] {
        assert!(read::<DeviceDocument>(text).is_err(), "{text}");
    }
    let location = r#"{"schema":2,"url":"cdn.example.net","region":"eu"}"#;
    assert!(read::<LocationDocument>(location).is_err());
    let about = r#"{"schema":2,"author":"","host":"","command":"","note":"\u001b[2J"}"#;
    assert!(read::<AboutDocument>(about).is_err());
    assert!(read::<AboutDocument>(&about.replace("\\u001b", "")).is_ok());
}

#[test]
fn an_unknown_term_makes_its_entry_wait_and_no_other() {
    let mut group = GroupDocument::empty(7);
    group.packages = entries([1, 2]);
    let text = Document::new(group).text().as_str().to_owned();
    let newer = text.replacen("\"terms\":{}", "\"terms\":{\"window\":[1,2]}", 1);
    let document = read::<GroupDocument>(&newer).unwrap();
    let waits = |entry: &StateEntry| entry.terms.unknown(VOCABULARY).next().is_some();
    let waiting: Vec<bool> = document.packages.as_slice().iter().map(waits).collect();
    assert_eq!(waiting, [true, false]);
    // A publisher that does not know the term either writes it again as it was.
    assert_eq!(Document::new((*document).clone()).text().as_str(), newer);
}

#[test]
fn error_messages() {
    let error = read::<GroupDocument>(r#"{"schema":2,"windows":1}"#).unwrap_err();
    let schema = read::<DeviceDocument>(r#"{"schema":3}"#).unwrap_err();
    insta::assert_snapshot!(messages([error, schema]), @"
    cannot read the group document: unknown field `windows`, expected one of `schema`, `revision`, `packages`, `prefer`, `pace` at line 1 column 21
    cannot read the device document: expected schema 2, found 3: update the agent at line 1 column 12
    ");
    let long = DocumentText::new("x".repeat(MAX_TEXT_BYTES + 1)).unwrap_err();
    insta::assert_snapshot!(long, @"the document has 262145 bytes, at most 262144 are allowed");
}

proptest! {
    /// Holds for entries and groups in any order.
    #[test]
    fn equal_values_have_equal_texts(numbers in proptest::collection::btree_set(0_u32..5000, 0..20), names in proptest::collection::btree_set("[b-k]{1,3}", 0..8), seed: u64) {
        let numbers: Vec<u32> = numbers.into_iter().collect();
        let mut shuffled = numbers.clone();
        shuffled.sort_by_key(|n| u64::from(*n).wrapping_mul(seed | 1));
        let names: Vec<String> = names.into_iter().collect();
        let backwards = names.iter().rev().cloned();
        let one = Document::new(DeviceDocument::new(groups(names.clone()), entries(numbers)));
        let other = Document::new(DeviceDocument::new(groups(backwards), entries(shuffled)));
        prop_assert_eq!(&one, &other);
        let read = Document::<DeviceDocument>::read(one.text().clone()).unwrap();
        prop_assert_eq!(read, one);
    }

    #[test]
    fn every_text_about_a_commit_reads_back(texts: [String; 4]) {
        let [author, host, command, note] = &texts;
        let written = Document::new(AboutDocument::shortened(author, host, command, note));
        let read = Document::<AboutDocument>::read(written.text().clone()).unwrap();
        prop_assert_eq!(read, written);
    }

    #[test]
    fn parsing_never_panics(text in ".{0,200}") {
        let _ = read::<GroupDocument>(&text);
        let _ = read::<DeviceDocument>(&text);
        let _ = read::<LocationDocument>(&text);
        let _ = read::<AboutDocument>(&text);
    }
}
