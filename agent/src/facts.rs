//! The daily facts of this device.

use std::net::IpAddr;
use std::path::Path;

use packcast_protocol::api::{
    DailyFacts, FactValues, FreePercent, MAX_VOLUMES, SiteLabel, VolumeFact,
};
use packcast_protocol::state::document::{PlainText, VOCABULARY};
use packcast_protocol::state::exchange::BoundedList;

use crate::platform::{self, FoundFacts, SystemName};

/// Collects the facts. A text over its limit is cut at the end.
pub(crate) fn collect(
    system: &SystemName,
    address: Option<IpAddr>,
    site: Option<&SiteLabel>,
) -> DailyFacts {
    let found = platform::found_facts();
    let volumes = found.volumes.iter().filter_map(|path| volume(path));
    let volumes = BoundedList::first(volumes.take(MAX_VOLUMES));
    stated(system, &found, volumes, address, site)
}

fn stated(
    system: &SystemName,
    found: &FoundFacts,
    volumes: BoundedList<VolumeFact, MAX_VOLUMES>,
    address: Option<IpAddr>,
    site: Option<&SiteLabel>,
) -> DailyFacts {
    let terms = VOCABULARY.iter().filter_map(|term| term.parse().ok());
    DailyFacts::fitting(FactValues {
        os_name: short(system.name.as_deref()),
        os_version: short(system.version.as_deref()),
        domain: short(found.domain.as_deref()),
        terms: BoundedList::first(terms),
        model: short(found.model.as_deref()),
        memory_mib: found.memory_mib,
        volumes,
        time_zone: short(found.time_zone.as_deref()),
        address,
        site: site.cloned(),
    })
}

fn short<const MAX: usize>(text: Option<&str>) -> Option<PlainText<MAX>> {
    let text = text.map(str::trim).filter(|text| !text.is_empty())?;
    Some(PlainText::shortened(text))
}

/// Returns a volume with its free space. `None` if the volume does not show it, or has no size.
fn volume(path: &Path) -> Option<VolumeFact> {
    let space = fs4::statvfs(path).ok()?;
    let total = Some(space.total_space()).filter(|total| *total > 0)?;
    Some(VolumeFact {
        path: PlainText::shortened(&path.to_string_lossy()),
        size_gib: u32::try_from(total >> 30).unwrap_or(u32::MAX),
        free_percent: FreePercent::of(space.available_space(), total),
    })
}

#[cfg(test)]
mod tests {
    use packcast_protocol::api::MAX_FACTS_BYTES;

    use super::*;

    #[test]
    fn facts_of_any_machine_fit_and_are_printable() {
        let long = || Some("\u{1b}[2J\"x\"\n".repeat(1_000));
        let system = SystemName {
            name: long(),
            version: long(),
        };
        let found = FoundFacts {
            domain: long(),
            model: long(),
            memory_mib: Some(u32::MAX),
            time_zone: long(),
            volumes: Vec::new(),
        };
        let volume = VolumeFact {
            path: PlainText::shortened(&"\"".repeat(64)),
            size_gib: u32::MAX,
            free_percent: FreePercent::of(1, 1),
        };
        let volumes = BoundedList::first(vec![volume; MAX_VOLUMES]);
        let site = SiteLabel::shortened("Zürich");
        let facts = stated(&system, &found, volumes, None, Some(&site));
        let text = serde_json::to_string(&facts).unwrap();
        assert!(text.len() <= MAX_FACTS_BYTES);
        // The function accepts these facts.
        assert_eq!(serde_json::from_str::<DailyFacts>(&text).unwrap(), facts);
        assert_eq!(facts.values().site, Some(site));
    }

    #[test]
    fn this_machine_has_a_system_a_volume_and_a_vocabulary() {
        let facts = collect(&platform::system_name(), None, None);
        let values = facts.values();
        assert!(values.os_name.is_some());
        assert!(!values.volumes.is_empty());
        assert_eq!(values.terms.as_slice().len(), VOCABULARY.len());
        assert_eq!(values.site, None);
    }

    #[test]
    fn empty_texts_are_no_facts() {
        let found = FoundFacts {
            domain: Some(" \n".to_owned()),
            ..FoundFacts::default()
        };
        let none = BoundedList::default();
        let facts = stated(&SystemName::default(), &found, none, None, None);
        let values = facts.values();
        assert_eq!((&values.domain, &values.os_name), (&None, &None));
    }
}
