//! The assignments of a package to this device, and the decision to act on them.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::result::NamedCode;
use packcast_protocol::state::Mandate;
use packcast_protocol::{Assignee, GroupName, Sha256Digest, UnixTime};

/// Returns a mandate of the group `all`.
#[cfg(test)]
pub(crate) fn mandate_of_all(seq: u64) -> Mandate {
    Mandate {
        assignee: Assignee::Group(GroupName::all()),
        seq,
    }
}

/// The signed assignments of one package that concern this device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mandates {
    /// The assignments in unexpired documents.
    pub(super) current: BTreeMap<Mandate, AssignedManifest>,
    /// The assignments in expired documents.
    pub(super) expired: BTreeMap<Mandate, ExpiredDocument>,
    /// The groups of the device, for the error message.
    pub(super) groups: BTreeSet<GroupName>,
    /// `true` if the function's tasks are enough.
    pub(super) server_is_trusted: bool,
}

/// The content of an unexpired assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AssignedManifest {
    pub(super) manifest: Sha256Digest,
    /// `true` if the device deploys the package even if it already has it.
    pub(super) force: bool,
}

/// The expired document of an assignment: the one that names the package, or the one that puts the
/// device into the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExpiredDocument {
    pub(super) recipient: Assignee,
    pub(super) expires: UnixTime,
}

/// The assignments that permit an action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Assigned {
    /// All assignments of the package now, which acting uses up.
    ///
    /// Empty if only the function's task permits it.
    pub(crate) by: BTreeSet<Mandate>,
    /// `true` if the publisher wants the package deployed even if the device already has it.
    pub(crate) force: bool,
}

/// Errors of an announced package that no signed assignment permits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAuthorised {
    #[error(
        "no signed assignment to {} names the package: assign it again with a key that the device trusts",
        recipients(groups)
    )]
    NotNamed { groups: BTreeSet<GroupName> },
    #[error("every signed assignment of the package was already used: assign it again")]
    Acted,
    #[error("the assigned manifest has the SHA-256 {meant}, but the announced one has {announced}")]
    OtherManifest {
        meant: Sha256Digest,
        announced: Sha256Digest,
    },
    #[error(
        "the signature of the assignments to {recipient} expired on {}: run 'packcast sign', then assign the package again",
        expires.day()
    )]
    Expired {
        recipient: Assignee,
        expires: UnixTime,
    },
}

impl Mandates {
    /// Decides if the device may act on the package.
    ///
    /// `acted` are the assignments that earlier attempts used up. `announced` is the manifest that
    /// the function announced.
    pub(crate) fn authorise(
        &self,
        acted: &BTreeSet<Mandate>,
        announced: Sha256Digest,
    ) -> Result<Assigned, NotAuthorised> {
        let unused = || {
            let current = self.current.iter();
            current.filter(|(mandate, _)| !acted.contains(mandate))
        };
        let mut meant = unused()
            .filter(|(_, meant)| meant.manifest == announced)
            .peekable();
        if meant.peek().is_some() {
            return Ok(Assigned {
                // All of them, even the expired ones: otherwise the device would run the package
                // again after the publisher signs an expired assignment again.
                by: self.all(),
                force: meant.any(|(_, meant)| meant.force),
            });
        }
        if self.server_is_trusted {
            return Ok(Assigned {
                by: BTreeSet::new(),
                force: true,
            });
        }
        if let Some((_, AssignedManifest { manifest, .. })) = unused().next() {
            return Err(NotAuthorised::OtherManifest {
                meant: *manifest,
                announced,
            });
        }
        if !self.current.is_empty() {
            return Err(NotAuthorised::Acted);
        }
        Err(match self.expired.values().next().cloned() {
            Some(ExpiredDocument { recipient, expires }) => {
                NotAuthorised::Expired { recipient, expires }
            }
            None => NotAuthorised::NotNamed {
                groups: self.groups.clone(),
            },
        })
    }

    /// Returns an assignment to the group `all`.
    #[cfg(test)]
    pub(crate) fn of_all(seq: u64, force: bool) -> Self {
        let manifest = Sha256Digest::of(b"");
        Self {
            current: BTreeMap::from([(mandate_of_all(seq), AssignedManifest { manifest, force })]),
            ..Self::default()
        }
    }

    /// Returns the mandates of a device that trusts its server.
    #[cfg(test)]
    pub(crate) fn of_server() -> Self {
        Self {
            server_is_trusted: true,
            ..Self::default()
        }
    }

    /// Returns all assignments of the package, expired or not. An expired one may be signed again.
    pub(crate) fn all(&self) -> BTreeSet<Mandate> {
        let all = self.current.keys().chain(self.expired.keys());
        all.cloned().collect()
    }
}

impl NotAuthorised {
    pub(crate) const fn code(&self) -> NamedCode {
        match self {
            Self::NotNamed { .. } | Self::Acted => NamedCode::NotAssigned,
            Self::OtherManifest { .. } => NamedCode::BadManifest,
            Self::Expired { .. } => NamedCode::AssignmentExpired,
        }
    }
}

fn recipients(groups: &BTreeSet<GroupName>) -> String {
    const SHOWN: usize = 8;
    let names: Vec<&str> = groups.iter().take(SHOWN).map(GroupName::as_str).collect();
    let more = match groups.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("this device or to group {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::publisher::group;

    #[test]
    fn a_refusal_names_the_possible_assignees() {
        let names = (0..30).map(|n| group(&format!("g{n:02}"))).collect();
        let refused = NotAuthorised::NotNamed { groups: names };
        assert_eq!(
            refused.to_string(),
            "no signed assignment to this device or to group g00, g01, g02, g03, g04, g05, g06, \
             g07 and 22 more names the package: assign it again with a key that the device trusts"
        );
    }

    #[test]
    fn messages_name_the_remedy() {
        let errors = [
            NotAuthorised::NotNamed {
                groups: [group("lab")].into(),
            },
            NotAuthorised::Acted,
            NotAuthorised::OtherManifest {
                meant: Sha256Digest::of(b"1"),
                announced: Sha256Digest::of(b"2"),
            },
            NotAuthorised::Expired {
                recipient: Assignee::Group(group("lab")),
                expires: UnixTime(1_795_000_000),
            },
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        no signed assignment to this device or to group lab names the package: assign it again with a key that the device trusts
        every signed assignment of the package was already used: assign it again
        the assigned manifest has the SHA-256 6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b, but the announced one has d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35
        the signature of the assignments to group lab expired on 2026-11-18: run 'packcast sign', then assign the package again
        ");
    }
}
