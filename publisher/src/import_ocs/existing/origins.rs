//! The groups here that belong to groups of an OCS server.
//!
//! A group belongs to the import if the commit that created it is one of `packcast import ocs`. The
//! commit is signed, so nobody who controls the table can pass a group off as an imported one.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::{AboutDocument, Document, GroupOrigin};
use packcast_protocol::{GroupName, Sha256Digest};
use packcast_rollout::state::StatePart;
use packcast_store::records::ImportedGroup;

use crate::failure::Failure;
use crate::import_ocs::memory::COMMAND;
use crate::import_ocs::plan::{GroupImport, ImportPlan};
use crate::state::KeyLists;
use crate::target::Target;

/// Number of commits that are read to find one by its number. Several can have the number only after
/// a commit was replaced.
const WITH_ONE_NUMBER: usize = 4;

/// Returns the groups of a plan that exist here and do not belong to it, each with the reason. A group
/// that the file of names chooses belongs to the import.
pub(super) async fn foreign(
    target: &Target,
    plan: &ImportPlan,
    state: &StatePart,
) -> Result<BTreeMap<GroupName, String>, Failure> {
    let mut existing = Vec::new();
    for group in plan.groups.iter().filter(|group| !group.is_chosen) {
        let document = state.group(&group.group).map_err(Failure::failed)?;
        existing.extend(document.map(|document| (group, document.origin(&group.group))));
    }
    if existing.is_empty() {
        return Ok(BTreeMap::new());
    }
    let numbers = existing.iter().map(|(_, origin)| origin.created).collect();
    let imports = commits_of_imports(target, numbers).await?;
    let remembered = target.records.imported_groups().await?;
    let remembered: BTreeMap<&GroupOrigin, &ImportedGroup> =
        remembered.iter().map(|it| (&it.origin, it)).collect();
    let reasons = existing.iter().filter_map(|(group, origin)| {
        let is_imported = imports.contains(&origin.created);
        let reason = reason(group, is_imported, remembered.get(origin).copied())?;
        Some((group.group.clone(), reason))
    });
    Ok(reasons.collect())
}

/// Returns the reason why a group here does not belong to the group of the OCS server. `None` if it
/// does.
fn reason(
    group: &GroupImport,
    is_imported: bool,
    remembered: Option<&ImportedGroup>,
) -> Option<String> {
    let GroupImport {
        group: name,
        ocs_id,
        ocs_created,
        ..
    } = group;
    let remedy = format!(
        "choose another name with --names, or write 'group {ocs_id} {name}' there to import into this group"
    );
    match remembered {
        Some(other) if other.ocs_id != *ocs_id => {
            let (other, number) = (&other.ocs_name, other.ocs_id);
            Some(format!(
                "group {name} here belongs to group {other:?} ({number}) of the OCS server: {remedy}"
            ))
        }
        Some(ImportedGroup {
            ocs_name: other,
            ocs_created: Some(created),
            ..
        }) if ocs_created.as_ref().is_some_and(|it| it != created) => Some(format!(
            "group {name} here belongs to group {other:?} ({ocs_id}) of another OCS server, created {created}: {remedy}"
        )),
        _ if is_imported => None,
        _ => Some(format!(
            "group {name} exists here, and no import has created it: {remedy}"
        )),
    }
}

/// Returns the numbers of those commits that imports have made, by their signed documents.
async fn commits_of_imports(
    target: &Target,
    numbers: BTreeSet<u64>,
) -> Result<BTreeSet<u64>, Failure> {
    let (records, trust) = (&target.records, target.trust()?);
    let keys = KeyLists::read(&trust, &records.lists_after(0).await?).keys();
    let mut abouts: BTreeMap<Sha256Digest, BTreeSet<u64>> = BTreeMap::new();
    for number in numbers {
        let commits = records.commits(number.saturating_add(1), WITH_ONE_NUMBER);
        for stored in commits.await? {
            let verified = stored.commit.signed.verify(trust.target(), &keys);
            if let Some(commit) = verified.ok().filter(|commit| commit.number == number) {
                abouts.entry(commit.about).or_default().insert(number);
            }
        }
    }
    let digests: Vec<Sha256Digest> = abouts.keys().copied().collect();
    let mut imports = BTreeSet::new();
    for text in records.documents(&digests).await? {
        let numbers = abouts.get(&text.digest()).cloned().unwrap_or_default();
        let about = Document::<AboutDocument>::read(text).ok();
        if about.is_some_and(|about| about.command.as_str() == COMMAND) {
            imports.extend(numbers);
        }
    }
    Ok(imports)
}
