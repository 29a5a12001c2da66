use std::collections::BTreeMap;

use proptest::prelude::*;

use super::entry::tests::entry;
use super::*;
use crate::causes::messages;
use crate::group::GroupName;
use crate::location::Location;
use crate::pacing::{PacingOverride, UpTo};
use crate::state::number::MAX_NUMBER;

fn entries(numbers: impl IntoIterator<Item = u32>) -> Entries {
    Entries::new(numbers.into_iter().map(entry).collect()).unwrap()
}

fn groups(names: impl IntoIterator<Item = String>) -> DeviceGroups {
    let parse = |name: String| (name.parse::<GroupName>().unwrap(), MAX_NUMBER);
    DeviceGroups::new(names.into_iter().map(parse).collect()).unwrap()
}

fn read<T: StateDocument>(text: &str) -> Result<Document<T>, DocumentError> {
    Document::read(DocumentText::new(text.to_owned()).unwrap())
}

/// The largest number of entries, which together have the largest size.
fn largest_entries() -> Entries {
    let with_note = |length: usize| {
        let largest = |n| StateEntry {
            seq: MAX_NUMBER,
            force: false,
            ..entry(n)
        };
        let mut entries: Vec<StateEntry> = (0..1000).map(largest).collect();
        let note = BTreeMap::from([("note".parse().unwrap(), "x".repeat(length).into())]);
        entries[7].terms = Terms::new(note).unwrap();
        Entries::new(entries)
    };
    let bytes = serde_json::to_string(&with_note(0).unwrap()).unwrap().len();
    let length = MAX_ENTRIES_BYTES - bytes;
    let too_large = MAX_ENTRIES_BYTES + 1;
    let error = with_note(length + 1);
    assert_eq!(error, Err(EntriesError::TooLarge { bytes: too_large }));
    with_note(length).unwrap()
}

#[test]
fn the_largest_documents_fit() {
    let mut group = GroupDocument::empty(MAX_NUMBER, MAX_NUMBER);
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
fn a_document_is_found_by_the_digest_of_its_text() {
    let text = r#"{"schema":2,"url":"cdn.example.net"}"#;
    let document = read::<LocationDocument>(text).unwrap();
    assert_eq!(document.text().as_str(), text);
    assert_eq!(document.digest(), Sha256Digest::of(text.as_bytes()));
    let json = serde_json::to_string(document.text()).unwrap();
    let sent: DocumentText = serde_json::from_str(&json).unwrap();
    assert_eq!(sent, *document.text());
    assert_eq!(Document::new((*document).clone()), document);
}

#[test]
fn a_reader_refuses_every_other_form_of_a_value() {
    let mut group = GroupDocument::empty(5, 7);
    let with_terms = |n| StateEntry {
        terms: serde_json::from_str(r#"{"ensure":{"a":1,"b":2},"window":"\u00e9"}"#).unwrap(),
        ..entry(n)
    };
    group.packages = Entries::new([1, 2].map(with_terms).into()).unwrap();
    let group = Document::new(group).text().as_str().to_owned();
    let device = DeviceDocument::new(
        groups(["lab".to_owned(), "tills".to_owned()]),
        Entries::default(),
    );
    let device = Document::new(device).text().as_str().to_owned();
    let [first, second] = [1, 2].map(|n| serde_json::to_string(&with_terms(n)).unwrap());
    let refused = |error: DocumentError| matches!(error, DocumentError::NotCanonical { .. });
    for (from, to) in [
        ("{\"schema\"", "{ \"schema\""),
        (
            "\"created\":5,\"revision\":7",
            "\"revision\":7,\"created\":5",
        ),
        (&format!("{first},{second}"), &format!("{second},{first}")),
        ("{\"ensure\":", "{\"window\":1,\"ensure\":"),
        ("{\"a\":1,", "{\"a\":0,\"a\":1,"),
        ("{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}"),
        ("\u{e9}", "\\u00e9"),
        ("\"a\":1,", "\"a\":1.0e0,"),
    ] {
        assert!(group.contains(from), "{from} in {group}");
        assert!(
            read::<GroupDocument>(&group.replacen(from, to, 1)).is_err(),
            "{to}"
        );
    }
    let lab = format!("\"lab\":{MAX_NUMBER}");
    let tills = format!("\"tills\":{MAX_NUMBER}");
    for (from, to) in [
        (&lab, &format!("\"lab\":1,{lab}")),
        (&format!("{lab},{tills}"), &format!("{tills},{lab}")),
    ] {
        assert!(device.contains(from), "{from} in {device}");
        let other = device.replacen(from, to, 1);
        assert!(refused(read::<DeviceDocument>(&other).unwrap_err()), "{to}");
    }
    let array = r#"[2,"cdn.example.net"]"#;
    assert!(refused(read::<LocationDocument>(array).unwrap_err()));
}

#[test]
fn a_group_document_has_every_field_in_a_fixed_order() {
    let mut group = GroupDocument::empty(5, 7);
    assert_eq!(
        Document::new(group.clone()).text().as_str(),
        r#"{"schema":2,"created":5,"revision":7,"packages":[],"prefer":null,"pace":{}}"#
    );
    group.prefer = Some("main".parse().unwrap());
    group.pace.strict = Some(true);
    group.pace.cycle_pause_s = UpTo::new(5);
    let text = r#"{"schema":2,"created":5,"revision":7,"packages":[],"prefer":"main","pace":{"cycle_pause_s":5,"strict":true}}"#;
    assert_eq!(Document::new(group.clone()).text().as_str(), text);
    assert_eq!(*read::<GroupDocument>(text).unwrap(), group);
}

#[test]
fn a_device_names_the_commit_that_created_each_group() {
    let device = DeviceDocument::new(groups(["lab".to_owned()]), Entries::default());
    let text = format!(r#"{{"schema":2,"groups":{{"lab":{MAX_NUMBER}}},"packages":[]}}"#);
    assert_eq!(Document::new(device).text().as_str(), text);
    let device = read::<DeviceDocument>(&text).unwrap();
    let later = GroupDocument::empty(5, 7);
    let lab: GroupName = "lab".parse().unwrap();
    // The device was in an earlier group of this name.
    assert_ne!(device.groups.as_map().get(&lab), Some(&later.created));
}

#[test]
fn unknown_fields_and_schemas_make_a_document_unreadable() {
    let mut group = GroupDocument::empty(5, 7);
    group.packages = entries([1]);
    let text = Document::new(group).text().as_str().to_owned();
    assert!(read::<GroupDocument>(&text).is_ok());
    for (from, to) in [
        ("\"schema\":2", "\"schema\":3"),
        ("\"schema\":2,", ""),
        ("\"revision\":7", "\"revision\":7,\"windows\":[]"),
        ("\"revision\":7", "\"revision\":1099511627777"),
        ("\"created\":5", "\"created\":1099511627777"),
        ("\"seq\":1", "\"seq\":1099511627777"),
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
        r#"{"schema":2,"groups":{"all":0},"packages":[]}"#,
        r#"{"schema":2,"groups":["lab"],"packages":[]}"#,
        r#"{"schema":2,"groups":{},"packages":[],"x":1}"#,
        r#"{"schema":1,"groups":{},"packages":[]}"#,
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
    let mut group = GroupDocument::empty(5, 7);
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
    let spaced = read::<DeviceDocument>(r#"{"schema":2, "groups":{},"packages":[]}"#).unwrap_err();
    insta::assert_snapshot!(messages([error, schema, spaced]), @"
    cannot read the group document: unknown field `windows`, expected one of `schema`, `created`, `origin`, `revision`, `packages`, `prefer`, `pace` at line 1 column 21
    cannot read the device document: expected schema 2, found 3: update the agent at line 1 column 12
    the device document is not in canonical form
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
