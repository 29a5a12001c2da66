//! Blocks, unblocks and removes devices.

use futures_util::FutureExt as _;
use maud::{Markup, html};
use packcast_publisher::device::exclusion::{self, DevicesChanged, ExclusionChange};
use packcast_publisher::device::removal;
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::{Failure, Target};
use packcast_rollout::ExclusionReason;

use super::address::{BLOCK, REMOVE, UNBLOCK};
use super::effect::device_fact;
use super::fields::{area, line};
use super::input::{Input, read};
use super::ledger::Outcome;
use super::{Change, Planned, Signed};
use crate::layout::Section;
use crate::visit::Visit;
use crate::words::{device_with_id, text};

pub(super) const DEVICES: &str = "Devices";
const REASON: &str = "Reason";

/// Blocks devices.
pub(super) struct Block {
    devices: Vec<DeviceName>,
    reason: Option<ExclusionReason>,
}

/// Admits blocked and removed devices again.
pub(super) struct Unblock(Vec<DeviceName>);

/// Removes devices.
pub(super) struct Remove {
    devices: Vec<DeviceName>,
    reason: Option<ExclusionReason>,
}

fn devices_field(input: &Input) -> Markup {
    area(
        input,
        "device",
        DEVICES,
        "One id or host name on each line.",
    )
}

fn reason_field(input: &Input) -> Markup {
    let hint = "For administrators: at most 120 bytes. It may be empty.";
    line(input, "reason", REASON, hint)
}

/// Reads names of devices. A name that a command would read as an option is refused.
///
/// A line that is an id as a whole is one name: the id of an OCS agent may contain commas, and a part of
/// it could name another device. Commas separate host names.
pub(super) fn device_names(input: &Input) -> Result<Vec<DeviceName>, Failure> {
    let mut names = Vec::new();
    for line in input.lines("device") {
        if let Ok(name @ DeviceName::Id(_)) = line.parse() {
            names.push(name);
            continue;
        }
        let hosts = line.split(',').map(str::trim);
        for host in hosts.filter(|host| !host.is_empty()) {
            names.push(device_name(host)?);
        }
    }
    Ok(names)
}

fn device_name(text: &str) -> Result<DeviceName, Failure> {
    if text.starts_with('-') {
        let refusal = format!("cannot read the field {DEVICES}: {text:?} begins with a hyphen");
        let hint = "enter the id of the device instead of its host name";
        return Err(Failure::usage(refusal).hint(hint));
    }
    read(text, DEVICES)
}

fn devices(input: &Input) -> Result<Vec<DeviceName>, Failure> {
    let devices = device_names(input)?;
    if devices.is_empty() {
        return Err(Failure::usage("cannot read the form: it names no device"));
    }
    Ok(devices)
}

fn words(command: &str, devices: &[DeviceName], reason: Option<&ExclusionReason>) -> Vec<String> {
    let mut words = vec!["device".to_owned(), command.to_owned()];
    words.extend(devices.iter().map(ToString::to_string));
    if let Some(reason) = reason {
        words.push(format!("--reason={reason}"));
    }
    words
}

async fn exclude<'a>(
    target: &'a Target,
    devices: &[DeviceName],
    change: ExclusionChange,
) -> Result<Planned<'a>, Failure> {
    let plan = exclusion::plan(target, devices, change).await?;
    let (preview, partly) = (plan.preview().clone(), plan.check().err());
    let facts = plan.devices().map(device_fact).collect();
    let perform = move |_, _| async move { Ok(changed(&plan.perform().await?)) }.boxed_local();
    Ok(Planned {
        partly,
        facts,
        ..Planned::new(preview, Signed::No, perform)
    })
}

fn changed(changed: &DevicesChanged) -> Outcome {
    let body = html! {
        ul.lines {
            @for device in &changed.0 {
                li {
                    (device_with_id(&device.device, &device.host_name)) ": "
                    (text(device.result.words()))
                }
            }
        }
    };
    let outcome = Outcome::new(body).partly(changed.complete());
    outcome.link("/devices", "Show the devices")
}

impl Change for Block {
    const PATH: &'static str = BLOCK;
    const TITLE: &'static str = "Block devices";
    const SECTION: Section = Section::Devices;
    const BUTTON: &'static str = "Block the devices";
    const ABOUT: &'static str = "The function refuses the requests of blocked devices until somebody \
        unblocks them. They keep their groups, packages and results.";
    const EXAMPLE: &'static str = "device block DEVICE";
    const STOPS: bool = true;

    async fn fields(_visit: &Visit, input: &Input) -> Result<Markup, Failure> {
        Ok(html! { (devices_field(input)) (reason_field(input)) })
    }

    fn read(input: &Input) -> Result<Self, Failure> {
        Ok(Self {
            devices: devices(input)?,
            reason: input.optional("reason", REASON)?,
        })
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        let reason = self.reason.clone();
        exclude(target, &self.devices, ExclusionChange::Block { reason }).await
    }

    fn command(&self) -> Vec<String> {
        words("block", &self.devices, self.reason.as_ref())
    }
}

impl Change for Unblock {
    const PATH: &'static str = UNBLOCK;
    const TITLE: &'static str = "Unblock devices";
    const SECTION: Section = Section::Devices;
    const BUTTON: &'static str = "Unblock the devices";
    const ABOUT: &'static str = "The function admits the devices again. A removed device may come back \
        as a new device, without groups and packages.";
    const EXAMPLE: &'static str = "device unblock DEVICE";

    async fn fields(_visit: &Visit, input: &Input) -> Result<Markup, Failure> {
        Ok(devices_field(input))
    }

    fn read(input: &Input) -> Result<Self, Failure> {
        Ok(Self(devices(input)?))
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        exclude(target, &self.0, ExclusionChange::Unblock).await
    }

    fn command(&self) -> Vec<String> {
        words("unblock", &self.0, None)
    }
}

impl Change for Remove {
    const PATH: &'static str = REMOVE;
    const TITLE: &'static str = "Remove devices";
    const SECTION: Section = Section::Devices;
    const BUTTON: &'static str = "Remove the devices";
    const ABOUT: &'static str = "The devices lose their groups, packages and results for good, and the \
        function refuses their requests. This does not change anything on the machines.";
    const EXAMPLE: &'static str = "device remove DEVICE";

    async fn fields(_visit: &Visit, input: &Input) -> Result<Markup, Failure> {
        Ok(html! { (devices_field(input)) (reason_field(input)) })
    }

    fn read(input: &Input) -> Result<Self, Failure> {
        Ok(Self {
            devices: devices(input)?,
            reason: input.optional("reason", REASON)?,
        })
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        let found = removal::named(target, &self.devices).await?;
        let partly = removal::check(target, &found).await.err();
        let preview = removal::preview(&found);
        let signed = Signed::Changes(removal::state_changes(&found));
        let perform = move |signer, progress| {
            async move {
                let reason = self.reason.as_ref();
                let removed = removal::remove(target, found, reason, signer, &progress).await?;
                Ok(changed(&removed))
            }
            .boxed_local()
        };
        Ok(Planned {
            partly,
            ..Planned::new(preview, signed, perform)
        })
    }

    fn command(&self) -> Vec<String> {
        words("remove", &self.devices, self.reason.as_ref())
    }
}
