//! Pauses the target, and ends the pause.

use futures_util::FutureExt as _;
use maud::{Markup, html};
use packcast_publisher::pause::{self, PauseChange};
use packcast_publisher::{Failure, Preview, Target};

use super::address::{PAUSE, RESUME};
use super::input::Input;
use super::ledger::Outcome;
use super::{Change, Planned, Signed};
use crate::layout::Section;
use crate::visit::Visit;

/// Pauses the target.
pub(super) struct Pause;

/// Ends the pause of the target.
pub(super) struct Resume;

/// Returns the outcome of a change; `text` says what it means for devices.
fn outcome(change: &PauseChange, text: &str, unchanged: &str) -> Outcome {
    let body = html! {
        @if change.changed {
            p { (text) }
            @if change.complete_in_s > 0 {
                p { "Every function knows of it within " (change.complete_in_s) " seconds." }
            }
        } @else { p { (unchanged) } }
    };
    Outcome::new(body).link("/", "Show what needs attention")
}

impl Change for Pause {
    const PATH: &'static str = PAUSE;
    const TITLE: &'static str = "Pause the target";
    const SECTION: Section = Section::Now;
    const BUTTON: &'static str = "Pause the target";
    const ABOUT: &'static str = "No package is announced, and no Packcast agent begins with one. \
        Programs that run already finish. OCS agents deploy the packages that were announced to them.";
    const EXAMPLE: &'static str = "pause --all";
    const STOPS: bool = true;

    async fn fields(_visit: &Visit, _input: &Input) -> Result<Markup, Failure> {
        Ok(Markup::default())
    }

    fn read(_input: &Input) -> Result<Self, Failure> {
        Ok(Self)
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        // A count that cannot be read must not stop a pause.
        let preview = match pause::preview_pause(target).await {
            Ok(preview) => preview,
            Err(failure) if failure.is_unreachable() => return Err(failure),
            Err(_) => Preview::new(pause::effect(target)),
        };
        let perform = move |_, _| {
            async move {
                let paused = pause::pause(target).await?;
                let text = "The target is paused.";
                Ok(outcome(&paused, text, "The target was paused already."))
            }
            .boxed_local()
        };
        Ok(Planned::new(preview, Signed::No, perform))
    }

    fn command(&self) -> Vec<String> {
        ["pause", "--all"].map(str::to_owned).into()
    }
}

impl Change for Resume {
    const PATH: &'static str = RESUME;
    const TITLE: &'static str = "End the pause of the target";
    const SECTION: Section = Section::Now;
    const BUTTON: &'static str = "End the pause";
    const ABOUT: &'static str = "Devices get their packages again at their next check-ins.";
    const EXAMPLE: &'static str = "resume --all";

    async fn fields(_visit: &Visit, _input: &Input) -> Result<Markup, Failure> {
        Ok(Markup::default())
    }

    fn read(_input: &Input) -> Result<Self, Failure> {
        Ok(Self)
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        let preview = pause::preview_resume(target).await?;
        let perform = move |_, _| {
            async move {
                let resumed = pause::resume(target).await?;
                let text =
                    "The pause has ended: devices get their packages at their next check-ins.";
                Ok(outcome(&resumed, text, "The target was not paused."))
            }
            .boxed_local()
        };
        Ok(Planned::new(preview, Signed::No, perform))
    }

    fn command(&self) -> Vec<String> {
        ["resume", "--all"].map(str::to_owned).into()
    }
}
