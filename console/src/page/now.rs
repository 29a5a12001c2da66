//! *Now*: everything that needs attention, the most urgent first.

use axum::Form;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;
use maud::{Markup, html};
use packcast_protocol::{GroupName, UnixTime};
use packcast_publisher::device::list::ListedDevice;
use packcast_publisher::fleet_check::{
    CHECKED_PACKAGES, ExpiringPackage, FailingPackage, PackageFindings, expiring, is_cloned,
    is_unseen, units_of_devices, units_of_packages,
};
use packcast_publisher::page;
use packcast_publisher::pause;
use packcast_publisher::rollout::{self, RolloutSummary};
use packcast_rollout::PackageRecord;
use packcast_rollout::rollout::GateStatus;

use super::failures::causes;
use super::packages::PUBLISH;
use super::rollout_step::{command, sentence};
use super::rollouts::next;
use super::sign_in::Protected;
use crate::answer;
use crate::app::App;
use crate::change::address::{PAUSE, RESUME};
use crate::change::links::{ChangeLink, actions};
use crate::command::Commands;
use crate::fleet::Checked;
use crate::layout::{Section, View, units};
use crate::page_error::PageError;
use crate::publish;
use crate::visit::{Visit, on_one_thread};
use crate::words::{count, device_link, grouped, package_link, package_path, state, text, when};

/// The path that begins a check of the whole fleet.
pub(crate) const CHECK: &str = "/check";

/// The number of the newest packages whose expiry is read without a check.
const PACKAGES: usize = 15;

/// A check proves only for this number of seconds that nothing needs attention.
const RECENT_S: u64 = 3_600;

/// A device is shown if it was not seen for this number of days.
const UNSEEN_DAYS: u16 = 7;

/// The number of devices that a finding names.
const NAMED: usize = 10;

pub(crate) async fn page(visit: Visit) -> Response {
    let view = view(&visit).await;
    visit.answer(view)
}

/// Checks the whole fleet, and shows the findings.
pub(crate) async fn check(visit: Visit, Form(form): Form<Protected>) -> Response {
    if !form.is_from(&visit) {
        return answer::status(StatusCode::FORBIDDEN);
    }
    on_one_thread(|| async move {
        let fleet = visit.app.fleet();
        match fleet
            .check(&visit.target, visit.now, || visit.units())
            .await
        {
            Ok(()) => Redirect::to("/").into_response(),
            Err(failure) => visit.answer(Err(failure.into())),
        }
    })
    .await
}

async fn view(visit: &Visit) -> Result<View, PageError> {
    let (target, commands) = (&visit.target, visit.app.commands());
    let packages = page::packages(target, None, PACKAGES).await?;
    let paused = pause::current(target).await?;
    let rollouts = rollout::list_without_sizes(target).await?;
    let devices = page::size(target, &GroupName::all()).await?;
    let checked = visit.app.fleet().checked();
    let waiting: Vec<&RolloutSummary> = by_urgency(&rollouts);
    let expiring = all_expiring(&packages.items, checked.as_deref(), visit.now);
    let now_findings = html! {
        @if let Some(paused) = &paused {
            (urgent("bad", "The target is paused", &html! {
                p { "No device gets or begins a package " (text(&pause::words(paused))) "." }
                (actions(visit, &[ChangeLink::new(RESUME, "End the pause", &[])]))
            }))
        }
        @for rollout in &waiting { (rollout_finding(rollout, visit)) }
        @if !expiring.is_empty() { (expiry(&expiring, visit.now)) }
    };
    let has_findings = paused.is_some() || !waiting.is_empty() || !expiring.is_empty();
    let body = html! {
        @if has_findings { (now_findings) }
        @else if packages.items.is_empty() { (welcome(visit, devices)) }
        @else if checked.is_none() {
            p {
                "No rollout waits for somebody. Check the fleet to find failures, late devices, and \
                 packages that expire."
            }
        }
        (running(&rollouts, &waiting, &visit.app))
        @if devices > 0 || !packages.items.is_empty() {
            section aria-labelledby="fleet" {
                h2 #fleet { "The whole fleet" }
                @match &checked {
                    Some(checked) => (findings(checked, has_findings, visit)),
                    None => p { "Nobody has checked the fleet since the console was started." },
                }
                (check_form(visit, devices, checked.is_some()))
                @if paused.is_none() {
                    (actions(visit, &[ChangeLink::new(PAUSE, "Pause the target", &[])]))
                }
            }
        }
    };
    let days = format!("{UNSEEN_DAYS}d");
    let mut lines = vec![
        commands.line(["rollout", "list"]),
        commands.line(["status"]),
        commands.line(["device", "list", "--not-seen", &days]),
    ];
    let continuing = waiting.iter().filter_map(|it| command(it, &visit.app));
    lines.extend(continuing.take(NAMED));
    Ok(View {
        title: "Now".to_owned(),
        section: Some(Section::Now),
        commands: lines,
        body,
    })
}

/// Returns the rollouts that wait for a person or for devices, halted ones first.
fn by_urgency(rollouts: &[RolloutSummary]) -> Vec<&RolloutSummary> {
    let mut waiting: Vec<(u8, &RolloutSummary)> = rollouts
        .iter()
        .filter_map(|rollout| Some((urgency(rollout)?, rollout)))
        .collect();
    waiting.sort_by_key(|(urgency, rollout)| (*urgency, std::cmp::Reverse(rollout.package)));
    waiting.into_iter().map(|(_, rollout)| rollout).collect()
}

/// Returns the place of a rollout among those that wait; `None` if it needs nobody.
const fn urgency(rollout: &RolloutSummary) -> Option<u8> {
    match &rollout.gate_status {
        Some(GateStatus::Halted { .. }) | None => Some(0),
        Some(GateStatus::Full { .. } | GateStatus::Unhealthy { .. }) => Some(1),
        Some(GateStatus::Restored | GateStatus::Paused | GateStatus::NoTime { .. }) => Some(2),
        Some(
            GateStatus::NothingBegun { .. }
            | GateStatus::NotBegun { .. }
            | GateStatus::Complete
            | GateStatus::Ended,
        ) => Some(3),
        Some(GateStatus::Running | GateStatus::Working { .. } | GateStatus::Opens { .. }) => None,
    }
}

fn rollout_finding(rollout: &RolloutSummary, visit: &Visit) -> Markup {
    let kind = if urgency(rollout) == Some(0) {
        "bad"
    } else {
        "warn"
    };
    let content = html! {
        p { (text(&sentence(rollout, &visit.app))) }
        (next(rollout, visit))
        p { a href={ "/rollouts/" (rollout.package) } { "Show the rollout" } }
    };
    let title = format!("Rollout of {}: {}", rollout.name, rollout.status);
    urgent(kind, &title, &content)
}

/// Lists the rollouts that go on without a person.
fn running(rollouts: &[RolloutSummary], waiting: &[&RolloutSummary], app: &App) -> Markup {
    let is_waiting = |it: &RolloutSummary| waiting.iter().any(|one| one.rollout == it.rollout);
    let running: Vec<&RolloutSummary> = rollouts.iter().filter(|it| !is_waiting(it)).collect();
    html! {
        @if !running.is_empty() {
            section aria-labelledby="running" {
                h2 #running { "Rollouts under way" }
                ul.lines {
                    @for rollout in running {
                        li {
                            a href={ "/rollouts/" (rollout.package) } { (text(&rollout.name)) } " "
                            (state(rollout.status)) " " (text(&sentence(rollout, app)))
                        }
                    }
                }
            }
        }
    }
}

/// Returns the packages that expire soon: among the newest ones as they are now, and among all others
/// as the check has found them.
fn all_expiring(
    newest: &[PackageRecord],
    checked: Option<&Checked>,
    now: UnixTime,
) -> Vec<ExpiringPackage> {
    let mut found = expiring(newest, now);
    let is_newest = |id| newest.iter().any(|package| package.id == id);
    let checked = checked
        .iter()
        .flat_map(|checked| &checked.packages.expiring);
    found.extend(checked.filter(|it| !is_newest(it.package)).cloned());
    found.sort_by_key(|it| it.expires);
    found
}

fn expiry(packages: &[ExpiringPackage], now: UnixTime) -> Markup {
    let content = html! {
        ul.lines {
            @for package in packages {
                li {
                    (package_link(package.package, &package.name)) " "
                    @if package.expires <= now { "expired " } @else { "expires " }
                    (when(package.expires, now))
                }
            }
        }
        p.soft { "Publish the content under another version, and assign that version." }
    };
    urgent("warn", "Packages that expire within 30 days", &content)
}

/// Returns the reasons for which a check without findings does not prove that nothing needs attention.
fn gaps(packages: &PackageFindings, age_s: u64) -> Vec<String> {
    let (all, counted) = (packages.packages, packages.counted);
    let reasons = [
        (age_s > RECENT_S).then(|| "The check is more than an hour old.".to_owned()),
        (counted < all).then(|| {
            format!("Failures and late devices were looked for in the newest {counted} of {all} packages.")
        }),
        (!packages.is_late_complete)
            .then(|| "Only some of the devices with an open package were looked at.".to_owned()),
    ];
    reasons.into_iter().flatten().collect()
}

/// Writes the findings of the last check of the fleet.
fn findings(checked: &Checked, has_others: bool, visit: &Visit) -> Markup {
    let (now, commands) = (visit.now, visit.app.commands());
    let devices = &checked.devices.devices;
    let unseen: Vec<&ListedDevice> = devices
        .iter()
        .filter(|it| is_unseen(it, UNSEEN_DAYS, now))
        .collect();
    let clones: Vec<&ListedDevice> = devices.iter().filter(|it| is_cloned(it)).collect();
    let packages = &checked.packages;
    let found_nothing = unseen.is_empty()
        && clones.is_empty()
        && packages.failing.is_empty()
        && packages.late.is_empty()
        && packages.expiring.is_empty();
    let gaps = gaps(packages, now.since(checked.at));
    let has_others = has_others || !visit.target.warnings.is_empty();
    html! {
        p.soft {
            "Checked " (when(checked.at, now)) " for " (units(checked.units)) " read units: "
            (count(devices.len() as u64, "device")) " (last seen, shared identities), and "
            (count(packages.packages as u64, "package")) " (expiry); failures, and open devices that \
            are late, of the newest " (packages.counted) ". A device that has not checked in since its \
            group got a package is not known to be late."
        }
        @if found_nothing && gaps.is_empty() && !has_others {
            p.notice.good { "Nothing needs attention." }
        } @else if found_nothing { p { "This check has found nothing." } }
        @for gap in &gaps { p.soft { (gap) } }
        @for failing in &packages.failing { (failures(failing)) }
        @if !packages.late.is_empty() { (late(packages, now, commands)) }
        @if !unseen.is_empty() {
            (finding("warn", &format!("{} not seen for {UNSEEN_DAYS} days",
                count(unseen.len() as u64, "device")), &html! {
                (some_devices(&unseen, now))
                p { a href={ "/devices?not_seen=" (UNSEEN_DAYS) } { "List all of them" } }
            }))
        }
        @if !clones.is_empty() {
            (finding("warn", &format!("{} shared by two machines",
                count(clones.len() as u64, "device id")), &html! {
                p { "Two machines use the same identity, as after a disk was copied." }
                (some_devices(&clones, now))
            }))
        }
    }
}

fn failures(failing: &FailingPackage) -> Markup {
    let title = format!(
        "{} failed on {}",
        failing.name,
        count(failing.failed, "device")
    );
    let content = html! {
        @if let Some(found) = &failing.causes { (causes(found)) }
        p { a href={ (package_path(failing.package)) "/failures" } { "Show the failures" } }
    };
    finding("bad", &title, &content)
}

fn late(packages: &PackageFindings, now: UnixTime, commands: &Commands) -> Markup {
    let (late, read) = (&packages.late, packages.late_read);
    let content = html! {
        ul.lines {
            @for it in late {
                li {
                    (device_link(&it.device, &it.host_name)) ", "
                    (package_link(it.package, &it.name)) ", assigned " (when(it.assigned_at, now))
                    ": " (text(&commands.in_text(&it.says)))
                }
            }
        }
        @if read > late.len() {
            p.soft { (grouped(read as u64)) " late devices were found." }
        }
    };
    finding(
        "warn",
        "Assigned more than 24 hours ago, and not finished",
        &content,
    )
}

fn some_devices(devices: &[&ListedDevice], now: UnixTime) -> Markup {
    html! {
        ul.lines {
            @for device in devices.iter().take(NAMED) {
                li {
                    (device_link(&device.record.device, &device.record.host_name))
                    ", last seen " (when(device.record.last_seen, now))
                }
            }
            @if devices.len() > NAMED {
                li.soft { "and " (grouped((devices.len() - NAMED) as u64)) " more" }
            }
        }
    }
}

fn check_form(visit: &Visit, devices: u64, again: bool) -> Markup {
    let most = units_of_devices(devices) + units_of_packages();
    html! {
        form.inline method="post" action=(CHECK) {
            input type="hidden" name="form" value=(visit.form.reveal());
            button { @if again { "Check again" } @else { "Check the fleet" } }
            span.soft {
                "Reads the record of each of " (count(devices, "device"))
                ", and failures and late devices of the newest " (CHECKED_PACKAGES)
                " packages: at most about " (grouped(most)) " read units, and one for each package."
            }
        }
    }
}

/// Writes the way from a target without packages to the first package on a device.
fn welcome(visit: &Visit, devices: u64) -> Markup {
    let commands = visit.app.commands();
    html! {
        section.notice aria-label="First steps" {
            @if devices == 0 {
                h2 { "This target is empty" }
                p { "Nothing needs attention: there are no packages and no devices yet." }
            } @else {
                h2 { "This target has no packages yet" }
            }
            ol {
                @if devices == 0 {
                    li {
                        "Enrol a device: " (commands.example("agent-config"))
                        " writes the configuration of its agent."
                    }
                }
                @if visit.app.is_read_only() {
                    li { "Publish and activate a package: " (commands.example(PUBLISH)) }
                    li { "Assign the package: " (commands.example("assign NAME@VERSION --all")) }
                } @else {
                    li { a href=(publish::START) { "Publish a package" } "." }
                    li { "Activate it, and choose its computers: its page leads to each step." }
                }
            }
        }
    }
}

/// Writes a finding below the title of the page.
fn urgent(kind: &str, title: &str, content: &Markup) -> Markup {
    html! {
        article class={ "notice " (kind) } {
            h2 { (text(title)) }
            (content)
        }
    }
}

/// Writes a finding below the heading of the check.
fn finding(kind: &str, title: &str, content: &Markup) -> Markup {
    html! {
        article class={ "notice " (kind) } {
            h3 { (text(title)) }
            (content)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_with_gaps_does_not_prove_that_nothing_needs_attention() {
        let findings = |packages, counted, is_late_complete| PackageFindings {
            failing: Vec::new(),
            late: Vec::new(),
            late_read: 0,
            is_late_complete,
            expiring: Vec::new(),
            packages,
            counted,
        };
        assert!(gaps(&findings(100, 100, true), RECENT_S).is_empty());
        let all = gaps(&findings(1_000, 100, false), RECENT_S + 1);
        insta::assert_snapshot!(all.join("\n"), @r"
        The check is more than an hour old.
        Failures and late devices were looked for in the newest 100 of 1000 packages.
        Only some of the devices with an open package were looked at.
        ");
    }
}
