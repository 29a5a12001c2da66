//! Changes of the target that pages make.
//!
//! Each change has a form, a page with its effect, and a result. The page with the effect shows what
//! the change reaches, and the difference of the signed state before anybody signs it. The change is
//! decided again when it is made: it is made only if the effect is still the one that was shown.

mod activate;
pub(crate) mod address;
mod answers;
mod assign;
mod assignees;
pub(crate) mod computers;
mod controls;
mod decision;
mod delete;
mod device;
mod effect;
pub(crate) mod fields;
mod group;
mod group_settings;
mod handle;
pub(crate) mod input;
pub(crate) mod ledger;
pub(crate) mod links;
mod list;
mod members;
mod pause;
mod perform;
mod revert;
mod rollout;
mod running;
mod start_rollout;
mod values;
pub(crate) mod views;
pub(crate) mod work;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use futures_util::future::LocalBoxFuture;
use maud::Markup;
use packcast_publisher::diff::LinesWithIds;
use packcast_publisher::signing::Signer;
use packcast_publisher::{Failure, Preview, Progress, Target, Warning};
use packcast_rollout::state::StateChange;

use self::address::{CHANGES, LOCK};
use self::controls::Control;
use self::input::Input;
use self::ledger::Outcome;
use crate::app::App;
use crate::layout::Section;
use crate::visit::Visit;

/// The maximum length of a form in bytes: a list of many thousand devices fits in.
const MAX_FORM: usize = 4 << 20;

/// A change of the target, read from a form.
pub(crate) trait Change: Sized + 'static {
    /// The address of the form, below `/change/`.
    const PATH: &'static str;
    const TITLE: &'static str;
    const SECTION: Section;
    /// The text on the button that makes the change.
    const BUTTON: &'static str;
    /// The effect of the change on devices, for the form.
    const ABOUT: &'static str;
    /// The command with placeholders that makes the same change, without the name of the program.
    const EXAMPLE: &'static str;

    /// The boxes of the form, with the options of the command that do the same.
    const CONTROLS: &'static [Control] = &[];

    /// The change only stops or withdraws something. It is also made if it concerns less by then, or
    /// another number of devices, because both change all the time while devices report.
    const STOPS: bool = false;

    /// Writes the fields of the form as they were typed: by default, the package alone.
    async fn fields(_visit: &Visit, input: &Input) -> Result<Markup, Failure> {
        Ok(assign::package_field(input))
    }

    /// Reads the fields.
    fn read(input: &Input) -> Result<Self, Failure>;

    /// Decides on the change. Nothing is changed yet, and no key is read.
    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure>;

    /// Returns the words of the command that makes the same change.
    fn command(&self) -> Vec<String>;
}

/// A change that was decided.
pub(crate) struct Planned<'a> {
    pub(crate) preview: Preview,
    pub(crate) warnings: Vec<Warning>,
    /// The error that a part of the change will have.
    pub(crate) partly: Option<Failure>,
    pub(crate) signed: Signed,
    /// Ids and addresses of everything that the change concerns, besides those in signed changes.
    pub(crate) facts: Vec<String>,
    /// More about the change. It may depend on the time: a difference in it is no other change.
    pub(crate) details: Markup,
    /// Makes the change.
    pub(crate) perform: Perform<'a>,
}

/// The part of a change that must be signed.
pub(crate) enum Signed {
    /// Nobody signs the change.
    No,
    /// One commit with these changes; nothing has to be signed if there are none.
    Changes(Vec<StateChange>),
    /// Differences in words. The change itself makes sure that it starts from the same head.
    Lines(LinesWithIds),
}

/// Makes a change with the key of a signer.
pub(crate) type Perform<'a> =
    Box<dyn FnOnce(Signer, Progress) -> LocalBoxFuture<'a, Result<Outcome, Failure>> + 'a>;

impl<'a> Planned<'a> {
    /// Creates a decision without warnings and details.
    pub(crate) fn new(
        preview: Preview,
        signed: Signed,
        perform: impl FnOnce(Signer, Progress) -> LocalBoxFuture<'a, Result<Outcome, Failure>> + 'a,
    ) -> Self {
        Self {
            preview,
            warnings: Vec::new(),
            partly: None,
            signed,
            facts: Vec::new(),
            details: Markup::default(),
            perform: Box::new(perform),
        }
    }
}

/// Returns the routes of all changes.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .merge(route::<assign::Assign>())
        .merge(route::<assign::Unassign>())
        .merge(route::<activate::Activate>())
        .merge(route::<activate::Deactivate>())
        .merge(route::<delete::Delete>())
        .merge(route::<device::Block>())
        .merge(route::<device::Unblock>())
        .merge(route::<device::Remove>())
        .merge(route::<pause::Pause>())
        .merge(route::<pause::Resume>())
        .merge(route::<revert::Revert>())
        .merge(of_groups())
        .merge(of_rollouts())
        .route(
            computers::PATH,
            get(computers::form).post(computers::submit),
        )
        .route(CHANGES, get(list::page))
        .route("/changes/{number}", get(list::result))
        .route("/changes/{number}/live", get(running::live))
        .route(LOCK, post(list::lock))
        .layer(DefaultBodyLimit::max(MAX_FORM))
}

fn of_groups() -> Router<App> {
    Router::new()
        .merge(route::<group::Create>())
        .merge(route::<group::Rename>())
        .merge(route::<group::Delete>())
        .merge(route::<members::Members<true>>())
        .merge(route::<members::Members<false>>())
        .merge(route::<group_settings::Prefer>())
        .merge(route::<group_settings::Pace>())
}

fn of_rollouts() -> Router<App> {
    Router::new()
        .merge(route::<start_rollout::StartRollout>())
        .merge(route::<rollout::PauseRollout>())
        .merge(route::<rollout::ResumeRollout>())
        .merge(route::<rollout::Promote>())
        .merge(route::<rollout::End>())
        .merge(route::<rollout::Finish>())
}

/// Returns the routes of a change.
fn route<C: Change>() -> Router<App> {
    let methods = get(handle::form::<C>).post(handle::submit::<C>);
    Router::new().route(C::PATH, methods)
}
