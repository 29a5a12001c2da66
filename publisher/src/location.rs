//! Locations: the places that serve the objects of a target.

mod check;

use packcast_protocol::state::LeafName;
use packcast_protocol::{GroupName, LocationName};
use packcast_rollout::LocationRecord;
use packcast_rollout::state::StateChange;

pub use self::check::{CheckedLocation, check, conclude};
use crate::distinct::distinct;
use crate::failure::{Failure, NameKind};
use crate::preview::Preview;
use crate::progress::Progress;
use crate::signing::Signer;
use crate::state::current_part;
use crate::target::Target;
use crate::text::for_target;
use crate::warning::Warning;

/// The next step if a location was not found.
const LOCATIONS_HINT: &str = "run 'packcast location list' to see the locations";

fn no_location(name: &LocationName) -> String {
    format!("location {name} does not exist")
}

fn no_locations(target: &str) -> Failure {
    Failure::failed(format!("target {target} has no locations"))
        .hint("run 'packcast location add NAME ADDRESS' to add a location")
}

/// The addition of a location. Nothing is changed yet.
#[derive(Debug)]
pub struct AdditionPlan<'a> {
    target: &'a Target,
    location: LocationRecord,
    /// The location that has the name now, with another address.
    replaced: Option<LocationRecord>,
    is_known: bool,
    preview: Preview,
}

/// The removal of a location. Nothing is changed yet.
#[derive(Debug)]
pub struct RemovalPlan<'a> {
    target: &'a Target,
    location: LocationRecord,
    preview: Preview,
}

/// Plans to add a location. If a location of the same name exists, its address is replaced.
pub async fn plan_addition<'a>(
    target: &'a Target,
    location: &LocationRecord,
) -> Result<AdditionPlan<'a>, Failure> {
    let LocationRecord { name, location: at } = location;
    let recorded = recorded(target, name).await?;
    let is_known = recorded.as_ref() == Some(location)
        && committed(target, name).await?.as_ref() == Some(location);
    let replaced = recorded.filter(|replaced| replaced != location);
    let preview = match &replaced {
        None => Preview::new(format!("Adds location {name} ({at})")),
        Some(old) => {
            let old = &old.location;
            let effect = format!("Replaces address {old} of location {name} with {at}");
            Preview::of_any_device(target, effect).await?
        }
    };
    Ok(AdditionPlan {
        target,
        location: location.clone(),
        replaced,
        is_known,
        preview,
    })
}

/// Plans to remove a location.
///
/// # Errors
/// The target has no location of this name.
pub async fn plan_removal<'a>(
    target: &'a Target,
    name: &LocationName,
) -> Result<RemovalPlan<'a>, Failure> {
    let known = match recorded(target, name).await? {
        Some(known) => Some(known),
        None => committed(target, name).await?,
    };
    let known = known.ok_or_else(|| Failure::failed(no_location(name)).hint(LOCATIONS_HINT))?;
    let effect = format!("Removes location {name} ({})", known.location);
    Ok(RemovalPlan {
        target,
        location: known,
        preview: Preview::of_any_device(target, effect).await?,
    })
}

/// Adds a location, with one commit: decides with [`plan_addition`], and makes the change.
pub async fn add(
    target: &Target,
    location: &LocationRecord,
    signer: Signer,
    progress: &Progress,
) -> Result<Option<LocationRecord>, Failure> {
    let plan = plan_addition(target, location).await?;
    plan.perform(signer, progress).await
}

/// Removes a location, with one commit: decides with [`plan_removal`], and makes the change.
pub async fn remove(
    target: &Target,
    name: &LocationName,
    signer: Signer,
    progress: &Progress,
) -> Result<LocationRecord, Failure> {
    let plan = plan_removal(target, name).await?;
    plan.perform(signer, progress).await
}

impl AdditionPlan<'_> {
    /// Returns the effect of the addition. A new location changes no device.
    pub const fn preview(&self) -> &Preview {
        &self.preview
    }

    /// Adds the location, with one commit. Returns the location that was replaced.
    ///
    /// The function reads the key of `signer` unless the target has this location already.
    pub async fn perform(
        self,
        mut signer: Signer,
        progress: &Progress,
    ) -> Result<Option<LocationRecord>, Failure> {
        if self.is_known {
            return Ok(None);
        }
        let LocationRecord { name, location } = self.location;
        let command = format!("packcast location add {name} {location}");
        let change = StateChange::AddLocation {
            location: name,
            url: location,
        };
        signer
            .change(self.target, &[change], &command, progress)
            .await?;
        Ok(self.replaced)
    }
}

impl RemovalPlan<'_> {
    /// Returns the effect of the removal.
    pub const fn preview(&self) -> &Preview {
        &self.preview
    }

    /// Removes the location, with one commit. Packages that are active at the location stay active
    /// there.
    pub async fn perform(
        self,
        mut signer: Signer,
        progress: &Progress,
    ) -> Result<LocationRecord, Failure> {
        let name = &self.location.name;
        let change = StateChange::RemoveLocation {
            location: name.clone(),
        };
        let command = format!("packcast location remove {name}");
        signer
            .change(self.target, &[change], &command, progress)
            .await?;
        Ok(self.location)
    }
}

async fn recorded(target: &Target, name: &LocationName) -> Result<Option<LocationRecord>, Failure> {
    let recorded = list(target).await?;
    Ok(recorded.into_iter().find(|at| at.name == *name))
}

/// Returns a location as the signed state has it. The record is missing if the command that added
/// the location was interrupted.
async fn committed(
    target: &Target,
    name: &LocationName,
) -> Result<Option<LocationRecord>, Failure> {
    let state = current_part(target, [LeafName::Location(name.clone())].into()).await?;
    let document = state.location(name).map_err(Failure::failed)?;
    Ok(document.map(|document| LocationRecord {
        name: name.clone(),
        location: document.url.clone(),
    }))
}

/// Returns a warning for each group that prefers the location `name`.
pub async fn preferring(target: &Target, name: &LocationName) -> Result<Vec<Warning>, Failure> {
    let groups = target.records.groups().await?;
    let preferring = groups
        .into_iter()
        .filter(|group| group.preferred.as_ref() == Some(name));
    Ok(preferring
        .map(|group| preference(&group.group, name, &target.name))
        .collect())
}

fn preference(group: &GroupName, location: &LocationName, target: &str) -> Warning {
    Warning::new(format!("group {group} still prefers location {location}")).hint(for_target(
        &format!("run 'packcast group prefer {group} --none' to remove the preference"),
        target,
    ))
}

/// Returns all locations.
pub async fn list(target: &Target) -> Result<Vec<LocationRecord>, Failure> {
    Ok(target.records.locations().await?)
}

/// Finds the named locations, or all locations if none is named.
///
/// # Errors
/// The target has no locations, or a name belongs to no location.
pub async fn choose(
    target: &Target,
    names: &[LocationName],
) -> Result<Vec<LocationRecord>, Failure> {
    let known = list(target).await?;
    if known.is_empty() {
        return Err(no_locations(&target.name));
    }
    if names.is_empty() {
        return Ok(known);
    }
    let pick = |name: &LocationName| {
        known
            .iter()
            .find(|at| at.name == *name)
            .cloned()
            .ok_or_else(|| {
                let failure = Failure::usage(no_location(name)).hint(LOCATIONS_HINT);
                failure.refuses(NameKind::Location, name)
            })
    };
    distinct(names.iter()).map(pick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;

    #[test]
    fn errors_of_locations_have_next_steps() {
        let name = "cdn".parse().unwrap();
        let unknown = Failure::failed(no_location(&name)).hint(LOCATIONS_HINT);
        insta::assert_snapshot!(failures([unknown, no_locations("prod")]), @r"
        Failed: location cdn does not exist
        hint: run 'packcast location list' to see the locations
        Failed: target prod has no locations
        hint: run 'packcast location add NAME ADDRESS' to add a location
        ");
        let warning = preference(&"lab".parse().unwrap(), &name, "prod");
        insta::assert_snapshot!(warning, @r"
        warning: group lab still prefers location cdn
        hint: run 'packcast --target prod group prefer lab --none' to remove the preference
        ");
    }
}
