//! Signed assignments of a group or a device.
//!
//! An attacker who controls the cloud account can withhold a document from a device, but cannot add
//! to the document.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::device::AgentId;
use crate::digest::Sha256Digest;
use crate::group::GroupName;
use crate::package::PackageId;
use crate::signed::{Schema, Signed, SignedDocument, Verified};
use crate::time::UnixTime;

/// Largest number of packages in one document.
pub const MAX_ASSIGNED: usize = 1_000;

/// Largest number of groups in the document of a device.
pub const MAX_GROUPS: usize = 64;

/// All assignments of one assignee, as one document.
///
/// The document of a device also names its groups. A reader refuses a document with an unknown
/// field: an older agent must not skip a restriction that a newer publisher adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct Assignments {
    recipient: Assignee,
    revision: u64,
    groups: BTreeSet<GroupName>,
    packages: Vec<AssignedPackage>,
    issued: UnixTime,
    expires: UnixTime,
}

/// Assignments with the publisher's signature, in their stored and sent form.
pub type SignedAssignments = Signed<Assignments>;

/// Assignments that a trusted key has signed; they may have expired.
pub type VerifiedAssignments = Verified<Assignments>;

/// The group or device that has assignments. Every device is in the group `all`.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Assignee {
    Group(GroupName),
    Device(AgentId),
}

/// Assignment of one package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssignedPackage {
    /// Id of the package.
    pub package: PackageId,
    /// SHA-256 of the package's manifest. The id alone would let the records choose the
    /// manifest.
    pub manifest: Sha256Digest,
    /// Revision of the document that added the assignment. A device acts once on each.
    pub seq: u64,
    /// True if the device must deploy the package even if it has the package.
    pub force: bool,
}

/// State of an assignee's assignments. The later state is the greater one.
///
/// No state is issued before its predecessor. A renewal keeps the revision, and is issued
/// later. So a document that is signed after the table was restored supersedes the lost
/// documents.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct Held {
    /// Time of the signature.
    pub issued: UnixTime,
    /// Number of the change.
    pub revision: u64,
}

/// Errors in a document of assignments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssignmentsError {
    #[error(
        "{recipient} would have {count} packages, at most {MAX_ASSIGNED} are allowed: unassign some"
    )]
    TooManyPackages { recipient: Assignee, count: usize },
    #[error("{recipient} would be in {count} groups, at most {MAX_GROUPS} are allowed")]
    TooManyGroups { recipient: Assignee, count: usize },
    #[error("{recipient} has package {package} twice")]
    Twice {
        recipient: Assignee,
        package: PackageId,
    },
    #[error("{recipient} is a group, and cannot be in groups")]
    GroupInGroups { recipient: Assignee },
    #[error("{recipient} must not name the group all: every device is in it")]
    NamesAll { recipient: Assignee },
}

/// Wire form of assignments.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename = "Assignments", deny_unknown_fields)]
struct Raw {
    /// Schema of the document; a reader refuses any other.
    schema: Schema<1>,
    kind: Kind,
    /// The assignee: a group or a device.
    recipient: Assignee,
    /// Number of the change; each change has a greater one.
    revision: u64,
    /// Groups of a device, without `all`; empty for a group.
    #[schemars(length(max = MAX_GROUPS))]
    groups: BTreeSet<GroupName>,
    /// Assigned packages in the order of their ids, each once.
    #[schemars(length(max = MAX_ASSIGNED))]
    packages: Vec<AssignedPackage>,
    issued: UnixTime,
    /// End of the validity: agents stop acting on the document.
    expires: UnixTime,
}

/// Kind of the document, which distinguishes it from other signed documents.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Kind {
    Assignments,
}

impl Assignments {
    /// Creates the assignments of an assignee; the packages may be in any order.
    pub fn new(
        recipient: Assignee,
        state: Held,
        groups: BTreeSet<GroupName>,
        mut packages: Vec<AssignedPackage>,
        expires: UnixTime,
    ) -> Result<Self, AssignmentsError> {
        if packages.len() > MAX_ASSIGNED {
            let count = packages.len();
            return Err(AssignmentsError::TooManyPackages { recipient, count });
        }
        if groups.len() > MAX_GROUPS {
            let count = groups.len();
            return Err(AssignmentsError::TooManyGroups { recipient, count });
        }
        if groups.contains(&GroupName::all()) {
            return Err(AssignmentsError::NamesAll { recipient });
        }
        if matches!(recipient, Assignee::Group(_)) && !groups.is_empty() {
            return Err(AssignmentsError::GroupInGroups { recipient });
        }
        // The order is part of the signed text: equal assignments must have equal documents.
        packages.sort_unstable_by_key(|assigned| assigned.package);
        let mut pairs = packages.windows(2);
        if let Some(twice) = pairs.find(|pair| pair[0].package == pair[1].package) {
            let package = twice[0].package;
            return Err(AssignmentsError::Twice { recipient, package });
        }
        let Held { issued, revision } = state;
        Ok(Self {
            recipient,
            revision,
            groups,
            packages,
            issued,
            expires,
        })
    }

    pub const fn recipient(&self) -> &Assignee {
        &self.recipient
    }

    /// Returns the state of the assignments.
    pub const fn held(&self) -> Held {
        Held {
            revision: self.revision,
            issued: self.issued,
        }
    }

    /// Returns the groups of a device, without `all`.
    pub const fn groups(&self) -> &BTreeSet<GroupName> {
        &self.groups
    }

    /// Returns the packages in the order of their ids.
    pub fn packages(&self) -> &[AssignedPackage] {
        &self.packages
    }

    /// Returns the assignment of a package.
    pub fn assigned(&self, package: PackageId) -> Option<AssignedPackage> {
        let index = self
            .packages
            .binary_search_by_key(&package, |assigned| assigned.package);
        index.ok().map(|index| self.packages[index])
    }

    pub const fn expires(&self) -> UnixTime {
        self.expires
    }

    pub fn is_expired(&self, now: UnixTime) -> bool {
        self.expires <= now
    }
}

impl SignedDocument for Assignments {
    const NAME: &'static str = "assignments";
}

impl TryFrom<Raw> for Assignments {
    type Error = AssignmentsError;

    fn try_from(raw: Raw) -> Result<Self, Self::Error> {
        let Raw {
            schema: Schema,
            kind: Kind::Assignments,
            recipient,
            revision,
            groups,
            packages,
            issued,
            expires,
        } = raw;
        let state = Held { issued, revision };
        Self::new(recipient, state, groups, packages, expires)
    }
}

impl From<Assignments> for Raw {
    fn from(assignments: Assignments) -> Self {
        let Assignments {
            recipient,
            revision,
            groups,
            packages,
            issued,
            expires,
        } = assignments;
        Self {
            schema: Schema,
            kind: Kind::Assignments,
            recipient,
            revision,
            groups,
            packages,
            issued,
            expires,
        }
    }
}

impl fmt::Display for Assignee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => write!(f, "group {group}"),
            Self::Device(agent) => write!(f, "device key:{agent}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::causes::messages;

    const STATE: Held = Held {
        revision: 7,
        issued: UnixTime(1_795_000_000),
    };

    fn group(name: &str) -> GroupName {
        name.parse().unwrap()
    }

    fn device() -> Assignee {
        Assignee::Device(AgentId::of_public_key(&[7; 32]))
    }

    fn assigned(n: u32) -> AssignedPackage {
        AssignedPackage {
            package: PackageId::try_from(1_795_000_000 + n).unwrap(),
            manifest: Sha256Digest::of(&n.to_be_bytes()),
            seq: u64::from(n),
            force: n.is_multiple_of(2),
        }
    }

    fn created(
        recipient: Assignee,
        groups: &[&str],
        packages: impl IntoIterator<Item = u32>,
    ) -> Result<Assignments, AssignmentsError> {
        let groups = groups.iter().map(|name| group(name)).collect();
        let packages = packages.into_iter().map(assigned).collect();
        let expires = STATE.issued.plus(1000);
        Assignments::new(recipient, STATE, groups, packages, expires)
    }

    #[test]
    fn invalid_assignments_are_refused() {
        let lab = || Assignee::Group(group("lab"));
        let check = |created: Result<Assignments, AssignmentsError>, expected: &str| {
            assert_eq!(created.unwrap_err().to_string(), expected);
        };
        check(
            created(lab(), &[], [3, 1, 3]),
            "group lab has package 1795000003 twice",
        );
        check(
            created(lab(), &["site"], []),
            "group lab is a group, and cannot be in groups",
        );
        check(
            created(lab(), &[], 0..1001),
            "group lab would have 1001 packages, at most 1000 are allowed: unassign some",
        );
        let all = created(device(), &["all"], []).unwrap_err();
        assert!(matches!(all, AssignmentsError::NamesAll { .. }));
        let names: Vec<String> = (0..=MAX_GROUPS).map(|n| format!("g{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let many = created(device(), &names, []).unwrap_err();
        assert!(matches!(many, AssignmentsError::TooManyGroups { .. }));
        assert!(created(device(), &names[1..], 0..1000).is_ok());
    }

    #[test]
    fn the_largest_assignments_fit_into_a_signed_document() {
        let groups: Vec<String> = (0..MAX_GROUPS).map(|n| format!("{n:048}")).collect();
        let most = AssignedPackage {
            seq: u64::MAX,
            force: false,
            ..assigned(0)
        };
        let packages = (0..1000).map(|n| AssignedPackage {
            package: assigned(n).package,
            ..most
        });
        let groups = groups.iter().map(|name| group(name)).collect();
        let last = UnixTime(u64::MAX);
        let state = Held {
            revision: u64::MAX,
            issued: last,
        };
        let created = Assignments::new(device(), state, groups, packages.collect(), last).unwrap();
        let document = created.to_document();
        assert!(Signed::<Assignments>::new(document, String::new()).is_ok());
    }

    #[test]
    fn renewals_and_changes_are_later_states() {
        let renewed = Held {
            issued: STATE.issued.plus(1),
            ..STATE
        };
        let changed = Held {
            revision: STATE.revision + 1,
            ..renewed
        };
        let restored = Held {
            issued: changed.issued.plus(1),
            ..STATE
        };
        assert!(STATE < renewed && renewed < changed && changed < restored);
    }

    #[test]
    fn unknown_fields_schemas_and_kinds_are_refused() {
        let document = created(device(), &["lab"], [1]).unwrap().to_document();
        for (from, to) in [
            ("\"schema\":1", "\"schema\":2"),
            ("\"schema\":1", "\"schema\":1,\"only_on_tuesdays\":true"),
            ("\"kind\":\"assignments\"", "\"kind\":\"keys\""),
            ("\"kind\":\"assignments\",", ""),
            ("\"force\":", "\"not_before\":1,\"force\":"),
            ("\"device\":", "\"devices\":"),
            ("\"groups\":[\"lab\"]", "\"groups\":[\"all\"]"),
        ] {
            assert!(document.contains(from), "{from} in {document}");
            let newer = document.replacen(from, to, 1);
            assert!(serde_json::from_str::<Assignments>(&newer).is_err(), "{to}");
        }
    }

    #[test]
    fn error_messages() {
        let many: Vec<String> = (0..=MAX_GROUPS).map(|n| format!("g{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let lab = || Assignee::Group(group("lab"));
        let results = [
            created(lab(), &[], 0..1001),
            created(device(), &many, []),
            created(lab(), &[], [1, 1]),
            created(lab(), &["site"], []),
            created(device(), &["all"], []),
        ];
        insta::assert_snapshot!(messages(results.map(Result::unwrap_err)), @"
        group lab would have 1001 packages, at most 1000 are allowed: unassign some
        device key:joyg7dsohj3rluqb2vz5bkscg4 would be in 65 groups, at most 64 are allowed
        group lab has package 1795000001 twice
        group lab is a group, and cannot be in groups
        device key:joyg7dsohj3rluqb2vz5bkscg4 must not name the group all: every device is in it
        ");
    }

    proptest! {
        #[test]
        fn equal_assignments_have_equal_documents(ids in proptest::collection::btree_set(0_u32..5000, 0..20), seed: u64) {
            let one = created(device(), &["b", "a"], ids.iter().copied()).unwrap();
            let mut shuffled: Vec<u32> = ids.into_iter().collect();
            shuffled.sort_by_key(|id| u64::from(*id).wrapping_mul(seed | 1));
            let other = created(device(), &["a", "b"], shuffled).unwrap();
            let document = one.to_document();
            prop_assert_eq!(&other.to_document(), &document);
            prop_assert_eq!(serde_json::from_str::<Assignments>(&document).unwrap(), one);
        }

        #[test]
        fn parsing_never_panics(text in ".{0,200}") {
            let _ = serde_json::from_str::<Assignments>(&text);
        }
    }
}
