//! The list of groups.

use axum::extract::Query;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use packcast_protocol::GroupName;
use packcast_publisher::page::{self, GroupNumbers};
use serde::Deserialize;

use crate::change::address::CREATE_GROUP;
use crate::change::links::{ChangeLink, actions};
use crate::layout::{Section, View};
use crate::page_error::{PageError, field};
use crate::visit::Visit;
use crate::words::{encoded, group_link, group_path, grouped, next_page};

/// The number of groups on a page, and of those whose numbers are read without a question.
const MOST: usize = 25;
const COUNTED: usize = 4;

/// The approximate read units for the numbers of a group.
const UNITS_OF_NUMBERS: usize = 10;

#[derive(Deserialize)]
pub(crate) struct Choice {
    from: Option<String>,
    find: Option<String>,
    count: Option<String>,
}

pub(crate) async fn page(visit: Visit, Query(choice): Query<Choice>) -> Response {
    match field::<GroupName>(choice.find.as_deref(), "Group") {
        Ok(Some(group)) => Redirect::to(&group_path(&group)).into_response(),
        Ok(None) => {
            let view = view(&visit, &choice).await;
            visit.answer(view)
        }
        Err(error) => visit.answer(Err(error)),
    }
}

async fn view(visit: &Visit, choice: &Choice) -> Result<View, PageError> {
    let from: Option<GroupName> = field(choice.from.as_deref(), "from")?;
    let page = page::groups(&visit.target, from.as_ref(), MOST).await?;
    let is_counted = choice.count.is_some() || page.items.len() <= COUNTED;
    let mut rows: Vec<(GroupName, Option<GroupNumbers>)> = Vec::with_capacity(page.items.len());
    for group in page.items {
        let numbers = if is_counted {
            Some(page::group_numbers(&visit.target, &group).await?)
        } else {
            None
        };
        rows.push((group, numbers));
    }
    let at = from.map(|group| format!("from={}", encoded(group.as_str())));
    let next = page
        .next
        .map(|group| format!("/groups?from={}", encoded(group.as_str())));
    let body = html! {
        form.inline method="get" action="/groups" role="search" {
            label for="find" { "Group" }
            input #find name="find" placeholder="name" spellcheck="false";
            button { "Show" }
        }
        (actions(visit, &[ChangeLink::new(CREATE_GROUP, "Create a group", &[])]))
        p { "Every device is in the group " (group_link(&GroupName::all())) "." }
        @if rows.is_empty() {
            p.empty {
                "There are no other groups yet. Create one: "
                (visit.app.commands().example("group create NAME"))
            }
        } @else { (table(&rows)) }
        @if !is_counted {
            p {
                a href={ "/groups?count=1&" (at.unwrap_or_default()) } {
                    "Count the devices and packages of these groups"
                }
                span.soft { " (about " (UNITS_OF_NUMBERS * rows.len()) " read units)" }
            }
        }
        (next_page(next))
    };
    Ok(View {
        title: "Groups".to_owned(),
        section: Some(Section::Groups),
        commands: vec![visit.app.commands().line(["group", "list"])],
        body,
    })
}

fn table(rows: &[(GroupName, Option<GroupNumbers>)]) -> Markup {
    let is_counted = rows.iter().any(|(_, numbers)| numbers.is_some());
    html! {
        table role="table" {
            caption.hidden { "Groups in the order of their names" }
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" { "Group" }
                    @if is_counted {
                        th.number role="columnheader" scope="col" { "Devices" }
                        th.number role="columnheader" scope="col" { "Packages" }
                    }
                }
            }
            tbody role="rowgroup" {
                @for (group, numbers) in rows {
                    tr role="row" {
                        th role="rowheader" scope="row" { (group_link(group)) }
                        @if let Some(numbers) = numbers {
                            td.number role="cell" data-label="Devices" { (grouped(numbers.devices)) }
                            td.number role="cell" data-label="Packages" { (numbers.packages) }
                        }
                    }
                }
            }
        }
    }
}
