//! The chain of key lists, from the root keys of a configuration to the current publisher keys.

use crate::signature::PublicKey;
use crate::time::UnixTime;

use super::super::signed_text::SignedTextError;
use super::super::target::{TargetId, TrustedRoots};
use super::{KeyListId, SignedKeyList, VerifiedKeyList};

/// Largest number of key lists that a chain keeps. Lists that only renew the list before them do
/// not count.
pub const MAX_LINKS: usize = 32;

/// The key lists that lead from the configured root keys to the newest key list.
///
/// A root key that the configuration or the list before names has signed each list. Of several
/// lists that could come next, the chain takes the list whose signer ranks highest, then the list
/// that it has already, then the list with the lowest serial number. So the owner of the highest
/// root key can replace every list of a thief by one list, whatever serial numbers the thief used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChain {
    trust: TrustedRoots,
    links: Vec<Link>,
}

/// A key list of a chain, in its signed and its verified form.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    signed: SignedKeyList,
    list: VerifiedKeyList,
}

/// Result of following a key list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// The chain has changed.
    Changed,
    /// The chain had the list already, signed by this root key.
    AlreadyHeld,
}

/// Errors from following a key list.
#[derive(Debug, thiserror::Error)]
pub enum KeyChainError {
    #[error(transparent)]
    Refused(#[from] SignedTextError),
    #[error("key list {given} is signed by a root key that the key list before it does not name")]
    UnnamedRoot { given: u64 },
    #[error(
        "key list {given} does not replace key list {held}: only a root key of higher rank replaces a list"
    )]
    Outranked { given: u64, held: u64 },
    #[error(
        "cannot follow key list {given}: the chain has {MAX_LINKS} key lists; configure a trust line with the present root keys"
    )]
    TooMany { given: u64 },
}

impl KeyChain {
    /// Starts with the root keys of a configuration. No publisher key is trusted yet.
    pub const fn new(trust: TrustedRoots) -> Self {
        Self {
            trust,
            links: Vec::new(),
        }
    }

    pub const fn target(&self) -> TargetId {
        self.trust.target()
    }

    /// Follows a key list.
    ///
    /// Each list is complete, so a device may skip lists that it never received. An expired list
    /// is followed, too, because it names the root keys that may sign the next list.
    pub fn follow(&mut self, signed: &SignedKeyList) -> Result<Followed, KeyChainError> {
        let list = signed.verify(self.target(), &self.known_roots())?;
        let given = list.serial();
        let named = self.roots_before(given).contains(list.signer());
        // Two root keys may sign the same text: the signature of the higher rank counts.
        let (digest, key) = (list.digest(), list.signer().clone());
        let is_new = |link: &Link| link.list.digest() == digest && *link.list.signer() == key;
        if self.links.iter().any(is_new) {
            return Ok(Followed::AlreadyHeld);
        }
        let mut candidates = self.links.clone();
        candidates.push(Link {
            signed: signed.clone(),
            list,
        });
        let mut links = linked(self.trust.roots(), &candidates);
        if !links.iter().any(is_new) {
            let held = self.serial();
            return Err(if named {
                KeyChainError::Outranked { given, held }
            } else {
                KeyChainError::UnnamedRoot { given }
            });
        }
        remove_renewed(self.trust.roots(), &mut links);
        // Lists at the end give way: otherwise a thief could fill the chain, and keep out a list
        // by a root key of higher rank.
        links.truncate(MAX_LINKS);
        if !links.iter().any(is_new) {
            return Err(KeyChainError::TooMany { given });
        }
        self.links = links;
        Ok(Followed::Changed)
    }

    /// Follows each list, and returns the errors of the refused lists.
    ///
    /// A list that is refused does not end the chain, because a later list may still be valid.
    pub fn follow_all<'a>(
        &mut self,
        lists: impl IntoIterator<Item = &'a SignedKeyList>,
    ) -> Vec<KeyChainError> {
        let lists = lists.into_iter();
        lists.filter_map(|list| self.follow(list).err()).collect()
    }

    /// Returns the root keys that may sign a list with this serial number.
    fn roots_before(&self, serial: u64) -> &[PublicKey] {
        let before = self
            .links
            .iter()
            .rev()
            .find(|link| link.list.serial() < serial);
        before.map_or(self.trust.roots(), |link| link.list.roots())
    }

    /// Returns every root key of the configuration and the chain.
    fn known_roots(&self) -> Vec<PublicKey> {
        let mut known = self.trust.roots().to_vec();
        for root in self.links.iter().flat_map(|link| link.list.roots()) {
            if !known.contains(root) {
                known.push(root.clone());
            }
        }
        known
    }

    /// Returns the lists of the chain in order, to store them or to send them to a device.
    pub fn lists(&self) -> impl ExactSizeIterator<Item = &SignedKeyList> {
        self.links.iter().map(|link| &link.signed)
    }

    /// Returns the lists to send to a device with this newest list: those after it, or all lists if
    /// this chain does not have it.
    pub fn lists_after(&self, newest: Option<KeyListId>) -> impl Iterator<Item = &SignedKeyList> {
        let held = |link: &Link| Some(link.list.id()) == newest;
        let skipped = self
            .links
            .iter()
            .position(held)
            .map_or(0, |index| index + 1);
        self.lists().skip(skipped)
    }

    /// Returns the newest list; `None` before the first list.
    pub fn newest(&self) -> Option<&VerifiedKeyList> {
        self.links.last().map(|link| &link.list)
    }

    /// Returns the serial number of the newest list, 0 before the first list.
    pub fn serial(&self) -> u64 {
        self.newest().map_or(0, |list| list.serial())
    }

    /// Returns the root keys that may sign the next list, highest rank first.
    pub fn roots(&self) -> &[PublicKey] {
        self.newest()
            .map_or(self.trust.roots(), |list| list.roots())
    }

    /// Returns the publisher keys that the newest list names, retired ones included, even after
    /// the list has expired; none before the first list.
    ///
    /// A device discards a commit only if a newer list does not name its key. The clock does not
    /// matter here, so a wrong clock makes a device forget nothing.
    pub fn named(&self) -> Vec<PublicKey> {
        self.newest()
            .map_or_else(Vec::new, |list| list.usable_publishers())
    }

    /// Returns the publisher keys that may sign new commits by the newest list, even after the list
    /// has expired.
    pub fn signing(&self) -> Vec<PublicKey> {
        self.newest()
            .map_or_else(Vec::new, |list| list.signing_publishers())
    }

    /// Returns whether the newest list is valid. If not, nothing begins, but commits are accepted.
    pub fn in_force(&self, now: UnixTime) -> bool {
        self.newest().is_some_and(|list| !list.is_expired(now))
    }
}

/// Returns the chain of the best candidates, beginning with the configured root keys.
fn linked(configured: &[PublicKey], candidates: &[Link]) -> Vec<Link> {
    let mut chain: Vec<Link> = Vec::new();
    loop {
        let (serial, roots) = chain.last().map_or((0, configured), |link| {
            (link.list.serial(), link.list.roots())
        });
        let rank = |link: &Link| roots.iter().position(|root| root == link.list.signer());
        let best = candidates
            .iter()
            .filter(|link| link.list.serial() > serial)
            .filter_map(|link| Some((rank(link)?, link)))
            // Of equal ranks the first counts, so a held list stays.
            .min_by_key(|(rank, _)| *rank);
        match best {
            Some((_, link)) => chain.push(link.clone()),
            None => return chain,
        }
    }
}

/// Removes each list that the next list only renews: the same root key has signed both, and the
/// first has not changed the root keys. So a chain grows with changes of root keys, not with time.
fn remove_renewed(configured: &[PublicKey], links: &mut Vec<Link>) {
    let mut index = 0;
    while index + 1 < links.len() {
        let before = match index {
            0 => configured,
            _ => links[index - 1].list.roots(),
        };
        let (this, next) = (&links[index].list, &links[index + 1].list);
        if this.roots() == before && this.signer() == next.signer() {
            links.remove(index);
        } else {
            index += 1;
        }
    }
}

#[cfg(test)]
mod tests;
