//! Daily facts: properties of a device that its agent states once a day.

use std::borrow::Cow;
use std::net::IpAddr;

use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::state::document::PlainText;
use crate::state::exchange::{BoundedList, DigestPrefix};
use crate::state::named_values::TermName;

/// Largest form of daily facts as JSON, in bytes.
pub const MAX_FACTS_BYTES: usize = 2 << 10;

/// Largest number of volumes in daily facts.
pub const MAX_VOLUMES: usize = 8;

/// Largest number of terms in daily facts.
const MAX_TERMS: usize = 16;

/// The label of a site, from the configuration of the agent.
pub type SiteLabel = PlainText<48>;

/// Daily facts of at most [`MAX_FACTS_BYTES`] as JSON.
///
/// [`DailyFacts::fitting`] leaves out volumes, then terms; deserialisation refuses larger facts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "FactValues", into = "FactValues")]
pub struct DailyFacts(FactValues);

/// Properties of a device. A property that the agent cannot read is absent. None of them is about
/// a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename = "DailyFacts", expecting = "an object with facts")]
pub struct FactValues {
    /// Name of the operating system, such as `Debian GNU/Linux`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_name: Option<PlainText<64>>,
    /// Version of the operating system, such as `12 (bookworm)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_version: Option<PlainText<64>>,
    /// Domain of the host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<PlainText<253>>,
    /// Terms of the signed state that the agent knows: its vocabulary.
    #[serde(skip_serializing_if = "BoundedList::is_empty")]
    pub terms: BoundedList<TermName, MAX_TERMS>,
    /// Vendor and model of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<PlainText<128>>,
    /// Memory that the operating system can use, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// The main volumes on disks of the machine.
    #[serde(skip_serializing_if = "BoundedList::is_empty")]
    pub volumes: BoundedList<VolumeFact, MAX_VOLUMES>,
    /// Time zone, such as `Europe/Zurich`; on Windows the system's own name of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<PlainText<64>>,
    /// Address from which the device connects to the function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Label of the site, from the configuration of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteLabel>,
}

/// A volume with its free space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VolumeFact {
    /// Folder or drive of the volume.
    pub path: PlainText<64>,
    /// Size in GiB, rounded down.
    pub size_gib: u32,
    /// Free space in percent.
    pub free_percent: FreePercent,
}

/// Free space in percent of a volume, rounded down to a multiple of 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct FreePercent(u8);

/// Errors in daily facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DailyFactsError {
    #[error("daily facts are too large: expected at most {MAX_FACTS_BYTES} bytes, found {bytes}")]
    TooLarge { bytes: usize },
    #[error("expected 0, 10, 20, up to 100 percent, found {percent}")]
    Percent { percent: u8 },
}

impl DailyFacts {
    /// Creates facts from the values that fit: the last volumes are left out first, then the terms.
    pub fn fitting(mut values: FactValues) -> Self {
        while size(&values) > MAX_FACTS_BYTES && !values.volumes.is_empty() {
            let kept = values.volumes.as_slice();
            let kept = kept[..kept.len() - 1].to_vec();
            values.volumes = BoundedList::first(kept);
        }
        if size(&values) > MAX_FACTS_BYTES {
            values.terms = BoundedList::default();
        }
        Self(values)
    }

    pub const fn values(&self) -> &FactValues {
        &self.0
    }

    /// Returns the start of a digest, by which equal facts are recognised.
    pub fn digest(&self) -> DigestPrefix {
        DigestPrefix::of(&Sha256Digest::of(&json(&self.0)))
    }
}

impl TryFrom<FactValues> for DailyFacts {
    type Error = DailyFactsError;

    fn try_from(values: FactValues) -> Result<Self, Self::Error> {
        match size(&values) {
            0..=MAX_FACTS_BYTES => Ok(Self(values)),
            bytes => Err(DailyFactsError::TooLarge { bytes }),
        }
    }
}

impl From<DailyFacts> for FactValues {
    fn from(facts: DailyFacts) -> Self {
        facts.0
    }
}

impl JsonSchema for DailyFacts {
    fn schema_name() -> Cow<'static, str> {
        FactValues::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> schemars::Schema {
        FactValues::json_schema(generator)
    }
}

fn json(values: &FactValues) -> Vec<u8> {
    serde_json::to_vec(values).expect("facts are JSON")
}

fn size(values: &FactValues) -> usize {
    json(values).len()
}

impl FreePercent {
    /// Returns the share of free space. A volume without a size has no free space.
    pub fn of(free: u64, total: u64) -> Self {
        let tenths = u128::from(free) * 10 / u128::from(total).max(1);
        let tenths = u8::try_from(tenths.min(10)).expect("the number is at most 10");
        Self(tenths * 10)
    }

    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for FreePercent {
    type Error = DailyFactsError;

    fn try_from(percent: u8) -> Result<Self, Self::Error> {
        if percent <= 100 && percent.is_multiple_of(10) {
            Ok(Self(percent))
        } else {
            Err(DailyFactsError::Percent { percent })
        }
    }
}

impl From<FreePercent> for u8 {
    fn from(percent: FreePercent) -> Self {
        percent.0
    }
}

impl JsonSchema for FreePercent {
    fn schema_name() -> Cow<'static, str> {
        "FreePercent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Free space in percent of a volume, rounded down to a multiple of 10.",
            "type": "integer",
            "minimum": 0,
            "maximum": 100,
            "multipleOf": 10,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;

    fn longest<const MAX: usize>() -> PlainText<MAX> {
        PlainText::shortened(&"\"".repeat(MAX))
    }

    /// Returns facts in which each text is as long as possible, and has the longest form in JSON.
    fn largest() -> FactValues {
        let volume = VolumeFact {
            path: PlainText::shortened(&"\\".repeat(64)),
            size_gib: u32::MAX,
            free_percent: FreePercent(100),
        };
        let term = |n: usize| format!("term-{n:027}").parse().unwrap();
        FactValues {
            os_name: Some(longest()),
            os_version: Some(longest()),
            domain: Some(longest()),
            terms: BoundedList::first((0..MAX_TERMS).map(term)),
            model: Some(longest()),
            memory_mib: Some(u32::MAX),
            volumes: BoundedList::first(vec![volume; MAX_VOLUMES]),
            time_zone: Some(longest()),
            address: Some("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap()),
            site: Some(longest()),
        }
    }

    fn read(text: &str) -> Result<DailyFacts, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn the_largest_facts_lose_volumes_and_terms_until_they_fit() {
        let facts = DailyFacts::fitting(largest());
        assert!(size(facts.values()) <= MAX_FACTS_BYTES);
        let shorter = FactValues {
            volumes: BoundedList::default(),
            terms: BoundedList::default(),
            ..largest()
        };
        // All other facts always fit.
        assert!(size(&shorter) <= MAX_FACTS_BYTES, "{}", size(&shorter));
        assert_eq!(facts.values().site, largest().site);
        let few = FactValues {
            domain: None,
            model: None,
            ..largest()
        };
        let facts = DailyFacts::fitting(few.clone());
        let volumes = facts.values().volumes.as_slice().len();
        assert!((1..MAX_VOLUMES).contains(&volumes), "{volumes}");
        assert_eq!(facts.values().terms, few.terms);
    }

    #[test]
    fn facts_of_one_byte_more_than_allowed_are_refused() {
        let mut values = DailyFacts::fitting(largest()).values().clone();
        values.memory_mib = None;
        let of = |length: usize| FactValues {
            model: Some(PlainText::shortened(&"m".repeat(length))),
            terms: BoundedList::default(),
            ..values.clone()
        };
        // Volumes fill the rest.
        let volume = |length: usize| VolumeFact {
            path: PlainText::shortened(&"v".repeat(length)),
            size_gib: 1,
            free_percent: FreePercent(0),
        };
        let mut full = of(128);
        full.volumes = BoundedList::default();
        let mut volumes = Vec::new();
        for _ in 0..MAX_VOLUMES {
            volumes.push(volume(1));
            full.volumes = BoundedList::first(volumes.clone());
        }
        for at in 0..MAX_VOLUMES {
            let room = MAX_FACTS_BYTES - size(&full);
            volumes[at] = volume((1 + room).min(64));
            full.volumes = BoundedList::first(volumes.clone());
        }
        assert_eq!(size(&full), MAX_FACTS_BYTES);
        let text = serde_json::to_string(&full).unwrap();
        assert_eq!(read(&text).unwrap().values(), &full);
        let larger = text.replacen("\"size_gib\":1", "\"size_gib\":10", 1);
        insta::assert_snapshot!(read(&larger).unwrap_err(), @"daily facts are too large: expected at most 2048 bytes, found 2049");
        // Unknown facts of a later version count for nothing.
        let later = text.replacen('{', "{\"screens\":[1,2,3],", 1);
        assert_eq!(read(&later).unwrap().values(), &full);
    }

    #[test]
    fn hostile_facts_are_refused() {
        let refused = |text: &str| read(text).unwrap_err().to_string();
        let many = |value: &str, count: usize| vec![value; count].join(",");
        let volume = r#"{"path":"/","size_gib":1,"free_percent":10}"#;
        let texts = [
            r#"{"site":"lab\u001b[2J"}"#.to_owned(),
            r#"{"os_name":"\u202egnp.exe"}"#.to_owned(),
            format!(r#"{{"site":"{}"}}"#, "s".repeat(49)),
            r#"{"os_name":7}"#.to_owned(),
            r#"{"memory_mib":-1}"#.to_owned(),
            r#"{"memory_mib":"8 GiB"}"#.to_owned(),
            r#"{"address":"intranet"}"#.to_owned(),
            r#"{"terms":["No Term"]}"#.to_owned(),
            format!(r#"{{"terms":[{}]}}"#, many("\"t\"", 17)),
            format!(r#"{{"volumes":[{}]}}"#, many(volume, 9)),
            r#"{"volumes":[{"path":"/","size_gib":1,"free_percent":45}]}"#.to_owned(),
            r#"{"volumes":[{"path":"/","size_gib":1,"free_percent":110}]}"#.to_owned(),
            r#""Debian""#.to_owned(),
        ];
        insta::assert_snapshot!(texts.map(|text| refused(&text)).join("\n"), @r#"
        text has the control character '\u{1b}' at line 1 column 23
        text has the control character '\u{202e}' at line 1 column 27
        text has 49 bytes, at most 48 are allowed at line 1 column 60
        invalid type: integer `7`, expected a string at line 1 column 12
        invalid value: integer `-1`, expected u32 at line 1 column 16
        invalid type: string "8 GiB", expected u32 at line 1 column 21
        invalid IP address syntax at line 1 column 21
        "No Term" is not a term's name: 1 to 32 lower-case letters, digits, '-' or '_', the first a letter at line 1 column 19
        expected at most 16 items, found 17 at line 1 column 79
        expected at most 8 items, found 9 at line 1 column 409
        expected 0, 10, 20, up to 100 percent, found 45 at line 1 column 55
        expected 0, 10, 20, up to 100 percent, found 110 at line 1 column 56
        invalid type: string "Debian", expected an object with facts at line 1 column 8
        "#);
        assert_eq!(read("{}").unwrap(), DailyFacts::default());
    }

    #[test]
    fn free_space_is_rounded_down() {
        let percent = |free, total| FreePercent::of(free, total).get();
        for (free, total, expected) in [
            (0, 0, 0),
            (9, 100, 0),
            (10, 100, 10),
            (99, 100, 90),
            (100, 100, 100),
            (200, 100, 100),
            (u64::MAX, u64::MAX, 100),
            (u64::MAX / 2 - 9, u64::MAX, 40),
        ] {
            assert_eq!(percent(free, total), expected, "{free} of {total}");
        }
    }

    #[test]
    fn equal_facts_have_equal_digests() {
        let site = |text: &str| {
            let site = Some(PlainText::shortened(text));
            DailyFacts::fitting(FactValues {
                site,
                ..FactValues::default()
            })
        };
        assert_eq!(site("lab").digest(), site("lab").digest());
        assert_ne!(site("lab").digest(), site("Lab").digest());
    }

    #[test]
    fn error_messages() {
        let errors = [
            DailyFactsError::TooLarge { bytes: 2049 },
            DailyFactsError::Percent { percent: 45 },
        ];
        insta::assert_snapshot!(messages(errors), @"
        daily facts are too large: expected at most 2048 bytes, found 2049
        expected 0, 10, 20, up to 100 percent, found 45
        ");
    }
}
