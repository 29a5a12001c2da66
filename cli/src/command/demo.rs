//! `packcast demo`: deploys a package on this machine, in a temporary folder.

mod device;
mod sample;
mod steps;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packcast_local::{Local, LocalOptions, LocalState};
use packcast_protocol::manifest::{Audience, Platform};
use packcast_protocol::state::TrustedRoots;
use packcast_protocol::{DeviceId, Outcome, PackageRef, Priority, WindowsTerms};
use packcast_publisher::assign::{self, AssignRequest};
use packcast_publisher::assignees::AssigneeNames;
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::publish::inspect::Inspection;
use packcast_publisher::publish::plan::{ActionName, PackageTerms, Plan, PublishRequest};
use packcast_publisher::publish::source::Source;
use packcast_publisher::publish::{Staging, StagingArea};
use packcast_publisher::signing::verify_record::AlsoAccept;
use packcast_publisher::signing::{NoSecrets, Signer, SigningKey};
use packcast_publisher::{Failure, Progress, Target, activate, local, publish};
use packcast_rollout::{FinishedTask, PackageRecord};

use self::device::Device;
use self::steps::Steps;
use super::action::ActionChoice;
use crate::progress::Bar;
use crate::{local_target, output};

/// Deploy a package to a device on this machine, and show each step
///
/// Starts the whole system in a temporary folder, publishes a package, lets an agent process deploy
/// it, and prints the time of each step. Nothing is left behind. The exit code is 1 if the package
/// does not succeed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast demo
  packcast demo typescript.tgz
  packcast demo setup.tar.gz --action launch --command 'setup.sh --quiet'")]
pub(crate) struct Args {
    /// Archive (.zip or .tar.gz) or directory to deploy; a small sample if absent
    archive: Option<PathBuf>,
    /// Action on the device
    #[arg(long, value_enum, requires = "archive", default_value = "store")]
    action: ActionChoice,
    /// Program at the top of the archive with its arguments (launch), or any command (execute)
    #[arg(long, requires = "archive", allow_hyphen_values = true)]
    command: Option<String>,
    /// Folder to unpack into (store); a temporary folder if absent
    #[arg(long, requires = "archive", value_name = "FOLDER")]
    path: Option<String>,
}

/// The files and the running system of a demo.
struct DemoPlace<'a> {
    folder: &'a Path,
    /// Folder of the system.
    state_dir: &'a Path,
    state: &'a LocalState,
    trust: &'a TrustedRoots,
    key: Arc<SigningKey>,
}

impl Args {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let place = tempfile::Builder::new()
            .prefix("packcast-demo-")
            .tempdir()
            .map_err(Failure::failed)?;
        let mut steps = Steps::start();
        let state_dir = place.path().join("local");
        // Creates the target, whose trust line the function needs.
        let key = Arc::new(local::signing_key(&state_dir, &NoSecrets)?);
        let trust = local::trust(&state_dir)?;
        let options = LocalOptions::new(&state_dir, trust.clone());
        let system = Local::start(options).await.map_err(Failure::failed)?;
        steps.done(
            "started",
            &format!(
                "table, objects and HTTPS server at https://{}",
                system.state().edge
            ),
        );
        let place = DemoPlace {
            folder: place.path(),
            state_dir: &state_dir,
            state: system.state(),
            trust: &trust,
            key,
        };
        let result = self.deploy(&place, &mut steps).await;
        system.stop().await.map_err(Failure::failed)?;
        let finished = result?;
        output::data(&format!("\n{}", steps.table()));
        output::data(&format!(
            "the device's result: {}",
            output::outcome(&finished)
        ));
        conclude(&finished)
    }

    async fn deploy(
        &self,
        place: &DemoPlace<'_>,
        steps: &mut Steps,
    ) -> Result<FinishedTask, Failure> {
        let state = place.state.clone();
        let target = local_target::of(state, place.state_dir, Arc::new(NoSecrets)).await;
        let finished = self.deploy_through(&target, place, steps).await;
        output::warn(&target.warnings.take());
        finished
    }

    async fn deploy_through(
        &self,
        target: &Target,
        place: &DemoPlace<'_>,
        steps: &mut Steps,
    ) -> Result<FinishedTask, Failure> {
        let key = &place.key;
        local_target::commit_location(target, place.state.edge, Arc::clone(key)).await?;
        let request = self.request(place.folder);
        let staging = publish::stage(target, &request.name, &request.version).await;
        let area = staging.as_ref().map(Staging::area);
        let (source, plan) = self.prepare(place.folder, area).await?;
        steps.done("built", &describe(&source, &plan));

        let progress = Bar::new().progress();
        let publication = publish::publish(target, &plan, Some(&source), key, &progress).await?;
        let mut package = publication.package;
        let fragments = package
            .published()
            .map_or(0, |published| published.fragments);
        steps.done(
            "published",
            &format!(
                "package {}: {fragments} fragments, manifest signed with {}",
                package.id,
                key.public()
            ),
        );
        package = activate::activate_package(target, &package, &[]).await?;
        steps.done(
            "activated",
            &format!(
                "at https://{}, after a probe of its public address",
                package.locations[0].location
            ),
        );

        let device = Device::create(place.folder, place.state_dir, place.trust)?;
        let id = device.enrol().await?;
        steps.done(
            "enrolled",
            &format!("device {id}, an agent in a process of its own"),
        );
        let signer = Signer::with(target, Arc::clone(key));
        assign_to(target, &package, &id, signer).await?;
        steps.done(
            "assigned",
            &format!("{}@{} to this device", package.name, package.version),
        );

        device.deploy(steps).await?;
        target
            .records
            .finished(&id, package.id)
            .await?
            .ok_or_else(|| {
                Failure::failed("the result of the device did not arrive")
                    .hint("report this defect with the output above")
            })
    }

    async fn prepare(
        &self,
        place: &Path,
        staging: Option<StagingArea>,
    ) -> Result<(Source, Plan), Failure> {
        let path = match &self.archive {
            Some(path) => path.clone(),
            None => sample::write(place).map_err(Failure::failed)?,
        };
        let read = move || -> Result<(Source, Inspection), Failure> {
            let mut source = Source::open(&path, Platform::Any, None)?;
            if let Some(area) = staging {
                source.stage_in(area);
            }
            let inspection = publish::inspect(&source, None, &Progress::none())?;
            Ok((source, inspection))
        };
        // The archive is read with blocking I/O, which would hold up the system of the demo.
        let (source, inspection) = tokio::task::spawn_blocking(read)
            .await
            .map_err(Failure::failed)??;
        let plan = self.request(place).plan(Some(&inspection))?;
        Ok((source, plan))
    }

    fn request(&self, place: &Path) -> PublishRequest {
        let sample = self.archive.is_none();
        let action = if sample {
            ActionName::Launch
        } else {
            self.action.into()
        };
        let folder = (action == ActionName::Store).then(|| {
            self.path
                .clone()
                .unwrap_or_else(|| place.join("stored").display().to_string())
        });
        PublishRequest {
            name: "demo".parse().expect("a word is a name"),
            version: "1".parse().expect("a digit is a version"),
            priority: Priority::DEFAULT,
            action,
            command: if sample {
                Some(sample::COMMAND.to_owned())
            } else {
                self.command.clone()
            },
            folder: folder.or_else(|| self.path.clone()),
            terms: PackageTerms {
                platform: Platform::Any,
                success_codes: BTreeSet::from([0]),
                reboot_codes: BTreeSet::new(),
                timeout_s: 600,
                validity_s: None,
                rerun_after_interruption: false,
                audience: Audience::Any,
                windows: WindowsTerms::default(),
            },
        }
    }
}

/// Returns an error if the package did not succeed, so that the demo tests a package in a script.
fn conclude(finished: &FinishedTask) -> Result<(), Failure> {
    if finished.outcome == Outcome::Succeeded {
        return Ok(());
    }
    Err(
        Failure::failed("the package did not succeed on the device of the demo")
            .hint("correct the package, and run the same command again"),
    )
}

fn describe(source: &Source, plan: &Plan) -> String {
    format!(
        "{} of {}, action {}",
        source.format(),
        output::bytes(source.bytes()),
        plan.action.name()
    )
}

async fn assign_to(
    target: &Target,
    package: &PackageRecord,
    id: &DeviceId,
    signer: Signer,
) -> Result<(), Failure> {
    let request = AssignRequest {
        package: PackageRef::Id(package.id),
        to: AssigneeNames::Devices(vec![DeviceName::Id(id.clone())]),
        force: false,
        allow_downgrade: false,
        also_accept: AlsoAccept::default(),
    };
    let assigned = assign::assign(target, &request, signer, &Progress::none()).await?;
    assigned.complete()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn a_failed_package_is_an_error() {
        let mut finished = fixtures::failed();
        insta::assert_snapshot!(conclude(&finished).unwrap_err(), @"
        the package did not succeed on the device of the demo
        hint: correct the package, and run the same command again
        ");
        finished.outcome = Outcome::Succeeded;
        assert!(conclude(&finished).is_ok());
    }
}
