//! Deactivates a package: from then on the check-in function announces it to no further
//! device, and soon lets no device begin with it.

use packcast_protocol::{PackageId, PackageRef};
use packcast_rollout::PackageRecord;
use serde::Serialize;

use crate::failure::Failure;
use crate::package::{find, named};
use crate::preview::Preview;
use crate::stopping::complete_in_s;
use crate::target::Target;

/// A deactivated package.
#[derive(Debug, Serialize)]
pub struct Deactivated {
    #[serde(flatten)]
    pub package: PackageRecord,
    /// Number of devices that were told of the package, and have not reported; `None` if it cannot
    /// be read.
    pub told: Option<u64>,
    /// Seconds until no Packcast agent begins with the package; 0 if no device was told of it.
    pub complete_in_s: u64,
}

/// A deactivation whose package was found. Nothing is changed yet.
#[derive(Debug)]
pub struct DeactivatePlan<'a> {
    target: &'a Target,
    package: PackageRecord,
}

/// Plans to deactivate a package. Nothing is changed yet.
pub async fn plan<'a>(
    target: &'a Target,
    reference: &PackageRef,
) -> Result<DeactivatePlan<'a>, Failure> {
    let package = find(target, reference).await?;
    Ok(DeactivatePlan { target, package })
}

impl DeactivatePlan<'_> {
    /// Returns the id of the package.
    pub const fn package(&self) -> PackageId {
        self.package.id
    }

    /// Returns the effect of the deactivation in words.
    pub fn effect(&self) -> String {
        format!("Deactivates {}", named(&self.package))
    }

    /// Returns the effect of the deactivation: the devices that do not get the package, or that
    /// cancel it.
    pub async fn preview(&self) -> Result<Preview, Failure> {
        Preview::of_package(self.target, &self.package, self.effect()).await
    }

    /// Deactivates the package.
    ///
    /// Once this function has returned, the package is announced to no more devices. Devices that
    /// were told of it before may begin with it for some seconds, see
    /// [`Deactivated::complete_in_s`].
    pub async fn perform(self) -> Result<Deactivated, Failure> {
        let target = self.target;
        let by = target.changed_by();
        let package = target.records.deactivate(self.package.id, &by).await?;
        // After the deactivation: no device is added any more.
        // A count that cannot be read makes no failure of a deactivation that is done.
        let tally = target.records.tally(package.id).await.ok();
        let told = tally.map(|tally| tally.told());
        let complete_in_s = if told == Some(0) {
            0
        } else {
            complete_in_s(target)
        };
        Ok(Deactivated {
            package,
            told,
            complete_in_s,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::test_target::TestTarget;

    #[tokio::test]
    async fn a_deactivation_needs_no_count_of_devices() {
        let target = TestTarget::start(392).await;
        let package = target.table.package("vlc", 5).await;
        assert!(package.active);
        let tally = json!({
            "pk": { "S": format!("TALLY#{}#00", package.id) },
            "sk": { "S": "TALLY" },
            "assigned": { "S": "many" },
        });
        target.table.put(&tally).await;
        let plan = plan(&target.target, &PackageRef::Id(package.id))
            .await
            .unwrap();
        plan.preview().await.unwrap_err();
        let done = plan.perform().await.unwrap();
        assert!(!done.package.active);
        assert_eq!((done.told, done.complete_in_s), (None, 85));
    }
}
