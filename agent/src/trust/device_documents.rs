//! The signed documents of a device, and the groups and assignments in them.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::assignments::AssignedPackage;
use packcast_protocol::state::Mandate;
use packcast_protocol::{
    AgentId, Assignee, Assignments, GroupName, PackageId, UnixTime, VerifiedAssignments,
};

use super::mandates::{AssignedManifest, ExpiredDocument, Mandates};

/// The documents of a device: the latest of each assignee.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceDocuments<'a> {
    pub(crate) device: &'a AgentId,
    /// The groups in the device's configuration.
    pub(crate) configured: &'a BTreeSet<GroupName>,
    pub(crate) documents: &'a BTreeMap<Assignee, VerifiedAssignments>,
    /// `true` if the function's tasks need no signed assignment.
    pub(crate) server_is_trusted: bool,
}

impl DeviceDocuments<'_> {
    /// Returns the device's groups now, without `all`. An expired document adds none.
    pub(crate) fn groups(&self, now: UnixTime) -> BTreeSet<GroupName> {
        let own = self.device_document().filter(|own| !own.is_expired(now));
        self.with_configured(own)
    }

    /// Returns the groups whose documents concern the device, with `all`, expired or not.
    pub(crate) fn relevant_groups(&self) -> BTreeSet<GroupName> {
        let mut groups = self.with_configured(self.device_document());
        groups.insert(GroupName::all());
        groups
    }

    /// Collects the assignments of a package, from the device's document and those of its groups.
    ///
    /// An assignment is current if neither its document has expired nor the one that puts the
    /// device into the group.
    pub(crate) fn mandates(&self, package: PackageId, now: UnixTime) -> Mandates {
        let groups = self.relevant_groups();
        let mut mandates = Mandates {
            server_is_trusted: self.server_is_trusted,
            ..Mandates::default()
        };
        for document in self.documents.values().map(|document| &**document) {
            let concerns = match document.recipient() {
                Assignee::Device(device) => device == self.device,
                Assignee::Group(group) => groups.contains(group),
            };
            if let Some(assigned) = document.assigned(package).filter(|_| concerns) {
                let mandate = Mandate {
                    assignee: document.recipient().clone(),
                    seq: assigned.seq,
                };
                if let Some(expired) = self.expired(document, now) {
                    mandates.expired.insert(mandate, expired);
                } else {
                    let AssignedPackage {
                        manifest, force, ..
                    } = assigned;
                    mandates
                        .current
                        .insert(mandate, AssignedManifest { manifest, force });
                }
            }
        }
        mandates.groups = groups;
        mandates
    }

    fn device_document(&self) -> Option<&Assignments> {
        let device = Assignee::Device(self.device.clone());
        self.documents.get(&device).map(|own| &**own)
    }

    fn with_configured(&self, own: Option<&Assignments>) -> BTreeSet<GroupName> {
        let of_own = own.into_iter().flat_map(Assignments::groups);
        of_own.chain(self.configured).cloned().collect()
    }

    fn expired(&self, document: &Assignments, now: UnixTime) -> Option<ExpiredDocument> {
        let is_member = match document.recipient() {
            Assignee::Device(_) => true,
            Assignee::Group(group) => group.is_all() || self.groups(now).contains(group),
        };
        let expired = if document.is_expired(now) {
            Some(document)
        } else {
            self.device_document().filter(|_| !is_member)
        };
        expired.map(|document| ExpiredDocument {
            recipient: document.recipient().clone(),
            expires: document.expires(),
        })
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::result::NamedCode;

    use super::*;
    use crate::trust::mandates::{Assigned, NotAuthorised};
    use crate::trust::publisher::{
        TestDocument, device, group, key, manifest, package, to_device, to_group,
    };

    const NOW: UnixTime = UnixTime(500);

    /// The decision of device 1, which is in group `own` by its configuration, on package 1.
    #[derive(Default)]
    struct Case<'a> {
        documents: Vec<TestDocument<'a>>,
        acted: &'a [(&'a str, u64)],
        server_is_trusted: bool,
        expected: &'a str,
    }

    fn recipient(name: &str) -> Assignee {
        match name {
            "device" => Assignee::Device(device(1)),
            name => Assignee::Group(group(name)),
        }
    }

    fn shown(mandate: &Mandate) -> String {
        let name = match &mandate.assignee {
            Assignee::Device(_) => "device",
            Assignee::Group(group) => group.as_str(),
        };
        format!("{name} {}", mandate.seq)
    }

    fn decide(case: Case<'_>) -> String {
        let documents = case.documents.into_iter().map(|said| {
            let verified = said.signed(0).verify(&[key(0)]).unwrap();
            (verified.recipient().clone(), verified)
        });
        let device_documents = DeviceDocuments {
            device: &device(1),
            configured: &[group("own")].into(),
            documents: &documents.collect(),
            server_is_trusted: case.server_is_trusted,
        };
        let acted = case.acted.iter().map(|(name, seq)| Mandate {
            assignee: recipient(name),
            seq: *seq,
        });
        let mandates = device_documents.mandates(package(1), NOW);
        match mandates.authorise(&acted.collect(), manifest(1)) {
            Ok(Assigned { by, force }) => {
                let by: Vec<String> = by.iter().map(shown).collect();
                by.join(", ") + if force { ", force" } else { "" }
            }
            Err(error) => error.code().as_str().to_owned(),
        }
    }

    #[test]
    fn only_signed_and_unused_assignments_are_acted_on() {
        const NOT_ASSIGNED: &str = "ERR_NOT_ASSIGNED";
        const EXPIRED: &str = "ERR_ASSIGNMENT_EXPIRED";
        const PLAIN: &[(u32, u64, bool)] = &[(1, 7, false)];
        const FORCED: &[(u32, u64, bool)] = &[(1, 8, true)];
        const OTHER: &[(u32, u64, bool)] = &[(2, 7, true)];
        let to = |name, packages| TestDocument {
            packages,
            ..to_group(name)
        };
        let own = |packages, groups| TestDocument {
            groups,
            packages,
            ..to_device(1)
        };
        let old = |said| TestDocument {
            expires: 500,
            ..said
        };
        let case = |documents, acted, expected| Case {
            documents,
            acted,
            server_is_trusted: false,
            expected,
        };
        let cases = [
            // The assignee.
            case(vec![], &[][..], NOT_ASSIGNED),
            case(vec![own(OTHER, &[])], &[], NOT_ASSIGNED),
            case(vec![own(PLAIN, &[])], &[], "device 7"),
            case(vec![to("all", PLAIN)], &[], "all 7"),
            case(vec![to("own", PLAIN)], &[], "own 7"),
            case(vec![to("lab", PLAIN)], &[], NOT_ASSIGNED),
            case(vec![to("lab", PLAIN), own(&[], &["lab"])], &[], "lab 7"),
            case(
                vec![to("lab", PLAIN), own(&[], &["site"])],
                &[],
                NOT_ASSIGNED,
            ),
            case(
                vec![TestDocument {
                    packages: PLAIN,
                    ..to_device(2)
                }],
                &[],
                NOT_ASSIGNED,
            ),
            // The expiry.
            case(vec![old(own(PLAIN, &[]))], &[], EXPIRED),
            case(vec![old(to("all", PLAIN))], &[], EXPIRED),
            case(
                vec![to("lab", PLAIN), old(own(&[], &["lab"]))],
                &[],
                EXPIRED,
            ),
            case(
                vec![old(to("lab", PLAIN)), own(&[], &["lab"])],
                &[],
                EXPIRED,
            ),
            case(vec![old(to("lab", PLAIN))], &[], NOT_ASSIGNED),
            case(vec![old(own(OTHER, &[]))], &[], NOT_ASSIGNED),
            // Each assignment once.
            case(vec![own(PLAIN, &[])], &[("device", 7)], NOT_ASSIGNED),
            case(vec![own(PLAIN, &[])], &[("device", 6)], "device 7"),
            case(vec![own(PLAIN, &[])], &[("all", 7)], "device 7"),
            case(
                vec![own(PLAIN, &[]), to("all", PLAIN)],
                &[("all", 7)],
                "all 7, device 7",
            ),
            case(
                vec![own(PLAIN, &[]), to("all", PLAIN)],
                &[("all", 7), ("device", 7)],
                NOT_ASSIGNED,
            ),
            // An assignment that is signed again later must have been used up with the others.
            case(
                vec![own(PLAIN, &[]), old(to("all", PLAIN))],
                &[],
                "all 7, device 7",
            ),
            case(
                vec![own(PLAIN, &[]), old(to("all", PLAIN))],
                &[("device", 7)],
                NOT_ASSIGNED,
            ),
            // Force.
            case(vec![own(FORCED, &[])], &[], "device 8, force"),
            case(
                vec![own(FORCED, &[]), to("all", PLAIN)],
                &[("device", 8)],
                "all 7, device 8",
            ),
            case(
                vec![own(PLAIN, &[]), old(to("all", FORCED))],
                &[],
                "all 8, device 7",
            ),
        ];
        for (n, case) in cases.into_iter().enumerate() {
            let expected = case.expected;
            assert_eq!(decide(case), expected, "case {n}");
        }
    }

    #[test]
    fn an_assignment_is_for_one_manifest() {
        let own = TestDocument {
            packages: &[(1, 7, false)],
            ..to_device(1)
        };
        let own = own.signed(0).verify(&[key(0)]).unwrap();
        let documents = DeviceDocuments {
            device: &device(1),
            configured: &BTreeSet::new(),
            documents: &[(own.recipient().clone(), own)].into(),
            server_is_trusted: false,
        };
        let mandates = documents.mandates(package(1), NOW);
        let announced = manifest(2);
        let refused = mandates.authorise(&BTreeSet::new(), announced).unwrap_err();
        let meant = manifest(1);
        assert_eq!(refused, NotAuthorised::OtherManifest { meant, announced });
        assert_eq!(refused.code(), NamedCode::BadManifest);
        // After the action, it is not an assignment of the other manifest either.
        let refused = mandates.authorise(&mandates.all(), announced);
        assert_eq!(refused, Err(NotAuthorised::Acted));
    }

    #[test]
    fn an_expired_document_adds_no_groups() {
        let groups = |expires| {
            let said = TestDocument {
                groups: &["lab"],
                expires,
                ..to_device(1)
            };
            let own = said.signed(0).verify(&[key(0)]).unwrap();
            let documents = DeviceDocuments {
                device: &device(1),
                configured: &[group("own")].into(),
                documents: &[(own.recipient().clone(), own)].into(),
                server_is_trusted: false,
            };
            documents.groups(NOW)
        };
        assert_eq!(groups(501), [group("lab"), group("own")].into());
        assert_eq!(groups(500), [group("own")].into());
    }

    #[test]
    fn a_trusted_server_needs_no_unused_assignment() {
        let packages = &[(1, 7, false)];
        let own = || TestDocument {
            packages,
            ..to_device(1)
        };
        let check = |documents, acted, expected| {
            let case = Case {
                documents,
                acted,
                server_is_trusted: true,
                expected,
            };
            assert_eq!(decide(case), expected);
        };
        check(vec![], &[], ", force");
        check(vec![own()], &[], "device 7");
        check(vec![own()], &[("device", 7)], ", force");
    }
}
