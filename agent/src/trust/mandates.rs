//! The assignments that name a package, and the decision whether to act on them.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::result::NamedCode;
use packcast_protocol::{Assignee, GroupName, Sha256Digest, UnixTime};
use serde::{Deserialize, Serialize};

/// One assignment of a package, which a device acts on once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Mandate {
    pub(crate) recipient: Assignee,
    /// The recipient's revision that brought it.
    pub(crate) seq: u64,
}

#[cfg(test)]
impl Mandate {
    pub(crate) fn of_all(seq: u64) -> Self {
        Self {
            recipient: Assignee::Group(GroupName::all()),
            seq,
        }
    }
}

/// What is signed about a package for this device: which assignments name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mandates {
    /// Those that count.
    pub(super) current: BTreeMap<Mandate, Meant>,
    /// Those that do not count any more, and until when they did.
    pub(super) expired: BTreeMap<Mandate, Expired>,
    /// Whom the package could have been assigned to.
    pub(super) groups: BTreeSet<GroupName>,
    /// Whether the function's word is enough.
    pub(super) server_is_trusted: bool,
}

/// What an assignment that counts asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meant {
    pub(super) manifest: Sha256Digest,
    /// Whether it is to be done although the device has the package.
    pub(super) force: bool,
}

/// Which document has expired: the one that names a package, or the one that puts the device
/// in the group it names it for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expired {
    pub(super) recipient: Assignee,
    pub(super) expires: UnixTime,
}

/// That a package is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Authorised {
    /// All that name the package now: acting on it uses them up. None if it is wanted by the
    /// word of the function alone.
    pub(crate) by: BTreeSet<Mandate>,
    /// Whether the publisher wants it although the device may have it.
    pub(crate) force: bool,
}

/// Why a package that the function told of is not wanted, as far as the publisher has signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAuthorised {
    #[error(
        "no signed assignment to {} names the package: assign it again with the key that the device trusts",
        recipients(groups)
    )]
    NotNamed { groups: BTreeSet<GroupName> },
    #[error("every signed assignment of the package was acted on before: assign it again")]
    Acted,
    #[error(
        "what is assigned is the manifest with the SHA-256 {meant}, announced was the one with {announced}"
    )]
    OtherManifest {
        meant: Sha256Digest,
        announced: Sha256Digest,
    },
    #[error(
        "the signature of the assignments to {recipient} expired on {}: sign them again with 'packcast sign', then assign the package again",
        expires.day()
    )]
    Expired {
        recipient: Assignee,
        expires: UnixTime,
    },
}

impl Mandates {
    /// Decides whether to act on the package, given what was acted on for it before and which
    /// manifest the function has announced.
    pub(crate) fn authorise(
        &self,
        acted: &BTreeSet<Mandate>,
        announced: Sha256Digest,
    ) -> Result<Authorised, NotAuthorised> {
        let unused = || {
            let current = self.current.iter();
            current.filter(|(mandate, _)| !acted.contains(mandate))
        };
        let mut meant = unused()
            .filter(|(_, meant)| meant.manifest == announced)
            .peekable();
        if meant.peek().is_some() {
            return Ok(Authorised {
                by: self.all(),
                force: meant.any(|(_, meant)| meant.force),
            });
        }
        if self.server_is_trusted {
            return Ok(Authorised {
                by: BTreeSet::new(),
                force: true,
            });
        }
        if let Some((_, Meant { manifest, .. })) = unused().next() {
            return Err(NotAuthorised::OtherManifest {
                meant: *manifest,
                announced,
            });
        }
        if !self.current.is_empty() {
            return Err(NotAuthorised::Acted);
        }
        Err(match self.expired.values().next().cloned() {
            Some(Expired { recipient, expires }) => NotAuthorised::Expired { recipient, expires },
            None => NotAuthorised::NotNamed {
                groups: self.groups.clone(),
            },
        })
    }

    /// Says that the group that all are in has the package.
    #[cfg(test)]
    pub(crate) fn of_all(seq: u64, force: bool) -> Self {
        let manifest = Sha256Digest::of(b"");
        Self {
            current: BTreeMap::from([(Mandate::of_all(seq), Meant { manifest, force })]),
            ..Self::default()
        }
    }

    /// Says that the function's word is enough.
    #[cfg(test)]
    pub(crate) fn of_server() -> Self {
        Self {
            server_is_trusted: true,
            ..Self::default()
        }
    }

    /// Returns all that name the package, counting or not: one that has expired may be signed
    /// again.
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
    fn a_refusal_names_whom_the_package_could_have_been_assigned_to() {
        let names = (0..30).map(|n| group(&format!("g{n:02}"))).collect();
        let refused = NotAuthorised::NotNamed { groups: names };
        assert_eq!(
            refused.to_string(),
            "no signed assignment to this device or to group g00, g01, g02, g03, g04, g05, g06, \
             g07 and 22 more names the package: assign it again with the key that the device trusts"
        );
    }
}
