//! The list of packages, the newest first.

use axum::extract::Query;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use packcast_protocol::{Action, PackageId, PackageRef};
use packcast_publisher::package::{self, named, state as state_of};
use packcast_publisher::page;
use packcast_publisher::text::platform;
use packcast_rollout::PackageRecord;
use serde::Deserialize;

use crate::layout::{Section, View};
use crate::page_error::{PageError, field};
use crate::publish;
use crate::visit::Visit;
use crate::words::{bytes, next_page, package_link, package_path, state, text, when};

/// The number of packages on a page.
const MOST: usize = 25;

/// The command that publishes the first package.
pub(crate) const PUBLISH: &str = "publish FILE --name NAME --version VERSION --activate";

#[derive(Deserialize)]
pub(crate) struct Choice {
    from: Option<String>,
    find: Option<String>,
}

pub(crate) async fn page(visit: Visit, Query(choice): Query<Choice>) -> Response {
    match found(&visit, choice.find.as_deref()).await {
        Ok(Some(package)) => Redirect::to(&package_path(package)).into_response(),
        Ok(None) => {
            let view = view(&visit, &choice).await;
            visit.answer(view)
        }
        Err(error) => visit.answer(Err(error)),
    }
}

/// Finds the package that a person has typed; `None` if the field is empty.
async fn found(visit: &Visit, find: Option<&str>) -> Result<Option<PackageId>, PageError> {
    let Some(reference) = field::<PackageRef>(find, "Package")? else {
        return Ok(None);
    };
    Ok(Some(package::find(&visit.target, &reference).await?.id))
}

async fn view(visit: &Visit, choice: &Choice) -> Result<View, PageError> {
    let from: Option<PackageId> = field(choice.from.as_deref(), "from")?;
    let page = page::packages(&visit.target, from, MOST).await?;
    let next = page.next.map(|id| format!("/packages?from={id}"));
    let body = html! {
        form.inline method="get" action="/packages" role="search" {
            label for="find" { "Package" }
            input #find name="find" placeholder="name@version or id" spellcheck="false";
            button { "Show" }
        }
        @if !visit.app.is_read_only() {
            p { a.button href=(publish::START) { "Publish a package" } }
        }
        @if page.items.is_empty() {
            p.empty {
                "There are no packages yet. Publish one: "
                (visit.app.commands().example(PUBLISH))
            }
        } @else { (table(visit, &page.items)) }
        (next_page(next))
    };
    Ok(View {
        title: "Packages".to_owned(),
        section: Some(Section::Packages),
        commands: vec![visit.app.commands().line(["list"])],
        body,
    })
}

fn table(visit: &Visit, packages: &[PackageRecord]) -> Markup {
    html! {
        table role="table" {
            caption.hidden { "Packages, the newest first" }
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" { "Package" }
                    th role="columnheader" scope="col" { "State" }
                    th role="columnheader" scope="col" { "Action" }
                    th role="columnheader" scope="col" { "System" }
                    th.number role="columnheader" scope="col" { "Priority" }
                    th.number role="columnheader" scope="col" { "Size" }
                    th role="columnheader" scope="col" { "Created" }
                }
            }
            tbody role="rowgroup" {
                @for package in packages {
                    tr role="row" {
                        th role="rowheader" scope="row" { (package_link(package.id, &named(package))) }
                        td role="cell" data-label="State" { (state(state_of(package, visit.now))) }
                        td role="cell" data-label="Action" { (action(&package.action)) }
                        td role="cell" data-label="System" { (platform(package.platform)) }
                        td.number role="cell" data-label="Priority" { (package.priority) }
                        td.number role="cell" data-label="Size" { (size(package)) }
                        td role="cell" data-label="Created" { (when(package.created_at, visit.now)) }
                    }
                }
            }
        }
    }
}

fn size(package: &PackageRecord) -> String {
    package
        .action
        .archive()
        .map_or_else(|| "no archive".to_owned(), |archive| bytes(archive.bytes))
}

/// Writes an action with its command or folder.
pub(crate) fn action<A>(action: &Action<A>) -> Markup {
    let (name, rest) = match action {
        Action::Launch { command, .. } => ("LAUNCH", command.to_string()),
        Action::Execute { command, .. } => ("EXECUTE", command.to_string()),
        Action::Store { folder, .. } => ("STORE into", folder.to_string()),
        Action::Update { .. } => return html! { span.word { "UPDATE" } " of the Packcast agent" },
    };
    html! { span.word { (name) } " " code { (text(&rest)) } }
}
