//! Changes of a rollout: pause, resume, promote, end and finish.

use packcast_protocol::{GroupName, PackageRef};
use packcast_publisher::rollout::{
    ControlPlan, EndPlan, RolloutChanged, RolloutEnded, RolloutPromoted, plan_end, plan_finish,
    plan_pause, plan_promotion, plan_resume,
};
use packcast_publisher::{Failure, Target};

use crate::command::key_arg::KeyArg;
use crate::confirm::ConfirmArgs;
use crate::progress::{Bar, until_interrupted};
use crate::{Globals, output, stopping};

/// Pause a rollout: no further Packcast agent begins
///
/// Programs that run already finish, and devices report their results. A permission to begin that a
/// device has got is valid for a minute: the command returns when all of them have expired. OCS agents
/// do not ask: one that was told of the package before deploys it in any case, perhaps hours later. The
/// command prints the number of devices that were told, and needs no signing key.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast rollout pause vlc@3.0.21")]
pub(crate) struct PauseArgs {
    /// Package id, or name@version
    package: PackageRef,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// Continue a rollout that is paused, halted or full
///
/// After a halt, or if each place is taken, a new round begins: as many devices as --halt-at of
/// 'packcast rollout start' may fail again. The command warns if the devices with places may still
/// become healthy. It needs no signing key.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast rollout resume vlc@3.0.21
  packcast rollout resume vlc@3.0.21 --after-halt")]
pub(crate) struct ResumeArgs {
    /// Package id, or name@version
    package: PackageRef,
    /// Continue although failures have halted the rollout
    #[arg(long)]
    after_halt: bool,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// Open the next wave of a rollout now
///
/// The wave before it need not be healthy. If the time of the wave has not come, or if the wave has
/// none, the command signs a commit that opens it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast rollout promote vlc@3.0.21")]
pub(crate) struct PromoteArgs {
    /// Package id, or name@version
    package: PackageRef,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    key: KeyArg,
}

/// Stop a rollout, and withdraw its package
///
/// The package is unassigned from the groups of the rollout. Devices that have it keep it. The
/// command returns when no Packcast agent can begin any more. An OCS agent that was told of the package
/// before deploys it in any case, perhaps hours later. The command prints the number of devices that
/// were told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast rollout end vlc@3.0.21")]
pub(crate) struct EndArgs {
    /// Package id, or name@version
    package: PackageRef,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    key: KeyArg,
}

/// Make a rollout a plain assignment to its groups
///
/// All other devices of the groups get the package at their next check-in. Devices that have finished
/// it do not act again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast rollout finish vlc@3.0.21")]
pub(crate) struct FinishArgs {
    /// Package id, or name@version
    package: PackageRef,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    key: KeyArg,
}

impl PauseArgs {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let plan = plan_pause(&target, &self.package).await?;
        control(plan, self.confirm, globals, paused).await
    }
}

impl ResumeArgs {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let plan = plan_resume(&target, &self.package, self.after_halt).await?;
        control(plan, self.confirm, globals, resumed).await
    }
}

async fn control(
    plan: ControlPlan<'_>,
    confirm: ConfirmArgs,
    globals: &Globals,
    text: fn(&RolloutChanged) -> String,
) -> Result<(), Failure> {
    output::warn(plan.warnings());
    if !confirm.is_agreed(globals, plan.preview())? {
        return Ok(());
    }
    let changed = plan.perform().await?;
    stopping::wait_for_permissions(changed.complete_in_s).await?;
    output::result(globals.format, &changed, text);
    if let Some(note) = stopping::told(changed.told, 0) {
        output::note(&note);
    }
    Ok(())
}

impl PromoteArgs {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let plan = plan_promotion(&target, &self.package).await?;
        if !self.confirm.is_agreed(globals, plan.preview())? {
            return Ok(());
        }
        let (signer, bar) = (self.key.signer(&target), Bar::new());
        let progress = bar.progress();
        let work = Box::pin(plan.perform(signer, &progress));
        let promoted = until_interrupted("devices", work, &bar).await?;
        output::result(globals.format, &promoted, promoted_text);
        Ok(())
    }
}

impl EndArgs {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let plan = plan_end(&target, &self.package).await?;
        end(plan, &target, (self.confirm, &self.key), globals, ended).await
    }
}

impl FinishArgs {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let plan = plan_finish(&target, &self.package).await?;
        end(plan, &target, (self.confirm, &self.key), globals, finished).await
    }
}

async fn end(
    plan: EndPlan<'_>,
    target: &Target,
    (confirm, key): (ConfirmArgs, &KeyArg),
    globals: &Globals,
    text: fn(&RolloutEnded) -> String,
) -> Result<(), Failure> {
    if !confirm.is_agreed(globals, plan.preview())? {
        return Ok(());
    }
    let (signer, bar) = (key.signer(target), Bar::new());
    let progress = bar.progress();
    let work = Box::pin(plan.perform(signer, &progress));
    let ended = until_interrupted("devices", work, &bar).await?;
    stopping::wait_for_permissions(ended.complete_in_s).await?;
    output::result(globals.format, &ended, text);
    if let Some(note) = stopping::told(ended.told, 0) {
        output::note(&note);
    }
    Ok(())
}

fn paused(changed: &RolloutChanged) -> String {
    let name = &changed.name;
    if !changed.changed {
        return format!("the rollout of {name} was paused or halted already");
    }
    format!("paused the rollout of {name}; 'packcast rollout resume {name}' continues")
}

fn resumed(changed: &RolloutChanged) -> String {
    let already = if changed.changed { "" } else { "already " };
    format!("the rollout of {} {already}runs", changed.name)
}

fn promoted_text(promoted: &RolloutPromoted) -> String {
    let already = if promoted.changed { "" } else { "already " };
    format!(
        "wave {} of the rollout of {} is {already}open",
        promoted.wave, promoted.name
    )
}

fn ended(ended: &RolloutEnded) -> String {
    format!(
        "ended the rollout of {}: unassigned from {}",
        ended.name,
        groups(ended)
    )
}

fn finished(ended: &RolloutEnded) -> String {
    format!(
        "finished the rollout of {}: assigned to {} without waves",
        ended.name,
        groups(ended)
    )
}

fn groups(ended: &RolloutEnded) -> String {
    let groups: Vec<&str> = ended.groups.iter().map(GroupName::as_str).collect();
    groups.join(", ")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_protocol::state::RolloutId;

    use super::*;
    use crate::fixtures::id;

    #[test]
    fn each_change_has_a_sentence() {
        let (rollout, name) = (RolloutId::from_bytes([7; 16]), "vlc@3.0.21".to_owned());
        let changed = |changed| RolloutChanged {
            rollout,
            package: id(),
            name: name.clone(),
            changed,
            told: 2,
            complete_in_s: 85,
        };
        let promoted = |changed| RolloutPromoted {
            rollout,
            package: id(),
            name: name.clone(),
            wave: 2.try_into().unwrap(),
            commit: None,
            changed,
        };
        let of_groups = RolloutEnded {
            rollout,
            package: id(),
            name: name.clone(),
            groups: ["lab", "office"].map(|group| group.parse().unwrap()).into(),
            commit: Some(1_795_000_000),
            told: 2,
            complete_in_s: 85,
        };
        let texts = [
            paused(&changed(true)),
            paused(&changed(false)),
            resumed(&changed(true)),
            resumed(&changed(false)),
            promoted_text(&promoted(true)),
            promoted_text(&promoted(false)),
            ended(&of_groups),
            finished(&of_groups),
        ];
        assert_snapshot!(texts.join("\n"), @"
        paused the rollout of vlc@3.0.21; 'packcast rollout resume vlc@3.0.21' continues
        the rollout of vlc@3.0.21 was paused or halted already
        the rollout of vlc@3.0.21 runs
        the rollout of vlc@3.0.21 already runs
        wave 2 of the rollout of vlc@3.0.21 is open
        wave 2 of the rollout of vlc@3.0.21 is already open
        ended the rollout of vlc@3.0.21: unassigned from lab, office
        finished the rollout of vlc@3.0.21: assigned to lab, office without waves
        ");
    }
}
