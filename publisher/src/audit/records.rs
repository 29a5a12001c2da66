//! Comparison of the records of locations with the documents of the head.

use std::collections::BTreeMap;

use packcast_protocol::LocationName;
use packcast_protocol::state::LocationDocument;
use packcast_rollout::LocationRecord;
use packcast_rollout::state::StatePart;

use super::finding::Finding;

pub(super) fn compare_locations(state: &StatePart, recorded: &[LocationRecord]) -> Vec<Finding> {
    let recorded: BTreeMap<&LocationName, &LocationRecord> =
        recorded.iter().map(|it| (&it.name, it)).collect();
    let mut found = Vec::new();
    let locations: BTreeMap<&LocationName, &LocationDocument> = state
        .locations()
        .filter_map(|(name, document)| Some((name, document?)))
        .collect();
    for (name, document) in &locations {
        let location = (*name).clone();
        match recorded.get(name) {
            None => found.push(Finding::LocationNotRecorded { location }),
            Some(record) if record.location != document.url => {
                found.push(Finding::OtherAddress {
                    location,
                    expected: document.url.to_string(),
                    found: record.location.to_string(),
                });
            }
            Some(_) => {}
        }
    }
    let unknown = recorded
        .keys()
        .filter(|name| !locations.contains_key(*name));
    found.extend(unknown.map(|name| Finding::LocationOnlyRecorded {
        location: (*name).clone(),
    }));
    found
}
