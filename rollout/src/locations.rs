//! Order in which a device tries the locations of a package.

use crate::group::GroupState;
use crate::record::LocationRecord;

/// Returns a package's locations in the order for a device.
///
/// The preferred locations of the device's groups come first, in the order of the groups. The
/// others follow in the package's own order.
pub fn in_order(locations: &[LocationRecord], groups: &[GroupState]) -> Vec<LocationRecord> {
    let rank = |at: &LocationRecord| {
        groups
            .iter()
            .position(|group| group.preferred.as_ref() == Some(&at.name))
            .unwrap_or(groups.len())
    };
    let mut ordered = locations.to_vec();
    ordered.sort_by_key(rank);
    ordered
}

#[cfg(test)]
mod tests {
    use packcast_protocol::UnixTime;

    use super::*;
    use crate::group::tests::group;

    #[test]
    fn a_preferred_location_comes_first() {
        let locations = ["main", "paris", "oslo"].map(|name| LocationRecord {
            name: name.parse().unwrap(),
            location: format!("{name}.example.net").parse().unwrap(),
        });
        let order = |preferred: &[&str]| {
            let groups: Vec<GroupState> = preferred
                .iter()
                .map(|name| GroupState {
                    preferred: name.parse().ok(),
                    ..GroupState::new(group("site"), 1, UnixTime(0))
                })
                .collect();
            let names = in_order(&locations, &groups);
            names
                .iter()
                .map(|at| at.name.to_string())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(order(&[]), "main paris oslo");
        assert_eq!(order(&["oslo"]), "oslo main paris");
        assert_eq!(order(&["", "paris", "oslo"]), "paris oslo main");
        assert_eq!(order(&["elsewhere"]), "main paris oslo");
    }
}
