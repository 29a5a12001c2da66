//! Ending a rollout: its package is withdrawn, or stays as a plain assignment.

use packcast_protocol::state::RolloutId;
use packcast_protocol::{GroupName, PackageId, PackageRef};
use packcast_rollout::state::StateChange;
use packcast_store::records::GateControlError;
use serde::Serialize;

use super::control::{failure, permitted_s};
use super::live::{LiveRollout, find_live};
use crate::failure::Failure;
use crate::package::named;
use crate::preview::{Preview, named_groups};
use crate::progress::Progress;
use crate::signing::Signer;
use crate::target::Target;

/// The end of a rollout that is decided. Nothing is changed yet.
#[derive(Debug)]
pub struct EndPlan<'a> {
    target: &'a Target,
    live: LiveRollout,
    end: End,
    preview: Preview,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The package is withdrawn.
    Withdraw,
    /// The package stays assigned to the groups.
    Finish,
}

/// The result of the end of a rollout.
#[derive(Debug, Serialize)]
pub struct RolloutEnded {
    pub rollout: RolloutId,
    pub package: PackageId,
    /// `name@version`.
    pub name: String,
    pub groups: Vec<GroupName>,
    /// Number of the commit that removed the rollout; `None` if another command removed it in the
    /// meantime.
    pub commit: Option<u64>,
    /// Number of devices, of all groups, that were told of the package, and have not reported.
    pub told: u64,
    /// Seconds until no device begins with an earlier permission; 0 if the package stays assigned.
    pub complete_in_s: u64,
}

/// Plans to stop a package's rollout, and to withdraw the package from its groups. Nothing is changed
/// yet, and no key is read.
pub async fn plan_end<'a>(
    target: &'a Target,
    package: &PackageRef,
) -> Result<EndPlan<'a>, Failure> {
    plan(target, package, End::Withdraw).await
}

/// Plans to make a package's rollout a plain assignment: all devices of its groups get the package.
/// Nothing is changed yet, and no key is read.
pub async fn plan_finish<'a>(
    target: &'a Target,
    package: &PackageRef,
) -> Result<EndPlan<'a>, Failure> {
    plan(target, package, End::Finish).await
}

async fn plan<'a>(
    target: &'a Target,
    package: &PackageRef,
    end: End,
) -> Result<EndPlan<'a>, Failure> {
    let live = find_live(target, package).await?;
    let groups = live.groups();
    let name = named(&live.package);
    let preview = Preview::new(end.effect(&name, &groups)).with_packages([name]);
    Ok(EndPlan {
        target,
        end,
        preview: preview.with_groups(target, &groups).await?,
        live,
    })
}

impl End {
    fn effect(self, name: &str, groups: &[GroupName]) -> String {
        let groups = named_groups(groups);
        match self {
            Self::Withdraw => format!("Ends the rollout of {name}, and unassigns it from {groups}"),
            Self::Finish => {
                format!("Finishes the rollout of {name}: {groups} get it without waves")
            }
        }
    }
}

impl LiveRollout {
    fn groups(&self) -> Vec<GroupName> {
        self.document.groups.as_set().iter().cloned().collect()
    }
}

impl EndPlan<'_> {
    /// Returns the effect of the end.
    pub const fn preview(&self) -> &Preview {
        &self.preview
    }

    /// Returns the changes of the signed state.
    pub fn state_changes(&self) -> Vec<StateChange> {
        let rollout = self.live.id;
        vec![match self.end {
            End::Withdraw => StateChange::EndRollout { rollout },
            End::Finish => StateChange::FinishRollout { rollout },
        }]
    }

    /// Makes the change with one commit.
    ///
    /// If the package is withdrawn, the gate closes first, so that devices stop although the commit
    /// may fail: the same command makes the commit later. If the package stays, the gate closes after
    /// the commit, because devices ask it until then.
    pub async fn perform(
        self,
        mut signer: Signer,
        progress: &Progress,
    ) -> Result<RolloutEnded, Failure> {
        signer.unlock()?;
        let (target, rollout, changes) = (self.target, self.live.id, self.state_changes());
        let name = named(&self.live.package);
        let verb = match self.end {
            End::Withdraw => {
                self.close_gate(&name).await?;
                "end"
            }
            End::Finish => "finish",
        };
        let command = format!("packcast rollout {verb} {name}");
        let done = signer.change(target, &changes, &command, progress).await?;
        let (mut told, mut complete_in_s) = (0, 0);
        match self.end {
            End::Withdraw => {
                told = target.records.tally(self.live.package.id).await?.told();
                complete_in_s = permitted_s(target);
            }
            End::Finish => self.close_gate(&name).await?,
        }
        Ok(RolloutEnded {
            rollout,
            package: self.live.package.id,
            groups: self.live.groups(),
            commit: done.committed.number(),
            name,
            told,
            complete_in_s,
        })
    }

    /// Closes the gate, unless the table has lost it.
    async fn close_gate(&self, name: &str) -> Result<(), Failure> {
        let (package, by) = (self.live.package.id, self.target.changed_by());
        let closed = self
            .target
            .records
            .end_rollout(package, self.live.id, &by)
            .await;
        match closed {
            Ok(_) | Err(GateControlError::NoGate { .. }) => Ok(()),
            Err(error) => Err(failure(name, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_has_the_effect_on_the_package() {
        let groups = ["lab", "office"].map(|group| group.parse().unwrap());
        let effects = [End::Withdraw, End::Finish].map(|end| end.effect("tool@1", &groups));
        insta::assert_snapshot!(effects.join("\n"), @"
        Ends the rollout of tool@1, and unassigns it from groups lab, office
        Finishes the rollout of tool@1: groups lab, office get it without waves
        ");
    }
}
