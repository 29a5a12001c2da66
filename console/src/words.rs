//! Texts and parts of pages that several pages use.

use maud::{Markup, html};
use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime, terminal};
use packcast_publisher::text::{relative, time};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Characters that a segment of a path cannot contain, or that would end it.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'&')
    .add(b'+')
    .add(b'=');

/// Encodes a text for a segment or the query of an address.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// Writes a text of a device or a package. Characters that would hide or reorder text are escaped.
pub(crate) fn text(text: &str) -> Markup {
    html! { bdi { (terminal::line(text)) } }
}

/// Writes a time relative to now. The exact time is beside the pointer, and in its place if the person
/// chooses exact times.
pub(crate) fn when(at: UnixTime, now: UnixTime) -> Markup {
    let exact = time(at);
    html! {
        time title=(exact) {
            span.relative { (relative(at, now)) }
            span.exact { (exact) }
        }
    }
}

/// Writes the exact time, and the time relative to now.
pub(crate) fn exact(at: UnixTime, now: UnixTime) -> Markup {
    html! { (time(at)) span.soft { " (" (relative(at, now)) ")" } }
}

/// Writes a number with its noun, such as `1 device` or `2 devices`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{} {noun}s", grouped(number)),
    }
}

/// Writes a number with a thin space between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202F}');
        }
        text.push(digit);
    }
    text
}

/// Writes a number of bytes in binary units, such as `1.5 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1 << 10 {
        return count(bytes, "byte");
    }
    let (mut tenths, mut unit) = (bytes.saturating_mul(10) >> 10, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths >>= 10;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

pub(crate) fn package_path(package: PackageId) -> String {
    format!("/packages/{package}")
}

pub(crate) fn device_path(device: &DeviceId) -> String {
    format!("/devices/{}", encoded(&device.to_string()))
}

pub(crate) fn group_path(group: &GroupName) -> String {
    format!("/groups/{}", encoded(group.as_str()))
}

/// Writes a link to a package.
pub(crate) fn package_link(package: PackageId, name: &str) -> Markup {
    let name = if name.is_empty() {
        package.to_string()
    } else {
        name.to_owned()
    };
    html! { a href=(package_path(package)) { (text(&name)) } }
}

/// Writes a link to a device, by its host name if it has one.
pub(crate) fn device_link(device: &DeviceId, host_name: &str) -> Markup {
    let id = device.to_string();
    let name = if host_name.is_empty() { &id } else { host_name };
    html! { a href=(device_path(device)) title=(terminal::line(&id)) { (text(name)) } }
}

/// Writes a link to a device, and its id: several devices may have one host name, and each chooses its
/// own.
pub(crate) fn device_with_id(device: &DeviceId, host_name: &str) -> Markup {
    html! {
        (device_link(device, host_name))
        @if !host_name.is_empty() { " (" (text(&device.to_string())) ")" }
    }
}

/// Writes a link to a group.
pub(crate) fn group_link(group: &GroupName) -> Markup {
    html! { a href=(group_path(group)) { (text(group.as_str())) } }
}

/// Writes links to groups, with commas between them.
pub(crate) fn group_links(groups: &[GroupName]) -> Markup {
    html! {
        @for (place, group) in groups.iter().enumerate() {
            @if place > 0 { ", " }
            (group_link(group))
        }
    }
}

/// The denominator of the slots of devices, in which waves of a share are bounded.
const SLOTS: u16 = 10_000;

/// Writes a bound of slots as a share, such as `12.5 %`.
pub(crate) fn share(bound: u16) -> String {
    let (whole, rest) = (bound / (SLOTS / 100), bound % (SLOTS / 100));
    match rest {
        0 => format!("{whole} %"),
        _ => format!("{}.{} %", whole, format!("{rest:02}").trim_end_matches('0')),
    }
}

/// Writes a duration in its largest whole unit, such as `24 hours` or `90 seconds`.
pub(crate) fn duration(seconds: u64) -> String {
    // Waits are chosen in hours: one day is 24 hours.
    const UNITS: [(u64, u64, &str); 3] = [
        (172_800, 86_400, "day"),
        (3_600, 3_600, "hour"),
        (60, 60, "minute"),
    ];
    let fits =
        |(least, unit, _): &(u64, u64, &str)| seconds >= *least && seconds.is_multiple_of(*unit);
    match UNITS.into_iter().find(fits) {
        Some((_, unit, name)) => count(seconds / unit, name),
        None => count(seconds, "second"),
    }
}

/// Writes a state in one word, with its colour.
pub(crate) fn state(word: &str) -> Markup {
    let class = match word {
        "active" | "succeeded" | "verified" | "running" | "complete" | "open" => "good",
        "failed" | "expired" | "halted" | "unverified" | "no-gate" | "blocked" => "bad",
        "draft" | "partly made" | "paused" | "full" | "unhealthy" | "nothing-begun"
        | "restored" | "withdrawn" | "replaced" => "warn",
        _ => "plain",
    };
    html! { span class={ "state " (class) } { (word) } }
}

/// The number of lines that a change shows at first.
const LINES: usize = 6;

/// Writes the changes of a commit: the first ones, and the others on request.
pub(crate) fn lines(all: &[String]) -> Markup {
    let (first, rest) = all.split_at(all.len().min(LINES));
    html! {
        ul.lines { @for line in first { li { (text(line)) } } }
        @if !rest.is_empty() {
            details {
                summary { "and " (rest.len()) " more" }
                ul.lines { @for line in rest { li { (text(line)) } } }
            }
        }
    }
}

/// Writes a link to the next page.
pub(crate) fn next_page(href: Option<String>) -> Markup {
    html! {
        @if let Some(href) = href {
            p.pages { a.button href=(href) rel="next" { "Next page" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_devices_is_escaped() {
        let hostile = "<img src=x onerror=alert(1)>\u{202E}gpj\n&\"'";
        insta::assert_snapshot!(text(hostile).into_string(), @r#"<bdi>&lt;img src=x onerror=alert(1)&gt;\u{202e}gpj\n&amp;&quot;'</bdi>"#);
        assert_eq!(encoded("a/../b?c#d%"), "a%2F..%2Fb%3Fc%23d%25");
    }

    #[test]
    fn a_share_has_no_needless_digits() {
        let shares = [10_000, 1_250, 500, 1].map(share);
        assert_eq!(shares.join(", "), "100 %, 12.5 %, 5 %, 0.01 %");
    }

    #[test]
    fn durations_have_whole_units() {
        let durations = [0, 1, 90, 1_800, 3_600, 7_200, 86_400, 172_800].map(duration);
        assert_eq!(
            durations.join(", "),
            "0 seconds, 1 second, 90 seconds, 30 minutes, 1 hour, 2 hours, 24 hours, 2 days"
        );
    }

    #[test]
    fn numbers_and_sizes_are_readable() {
        let numbers = [0, 999, 1_000, 1_234_567].map(grouped);
        insta::assert_snapshot!(numbers.join(" "), @"0 999 1\u{202f}000 1\u{202f}234\u{202f}567");
        let sizes = [1, 1_023, 1_536, 45_000_000, 3 << 40].map(bytes);
        assert_eq!(
            sizes.join(", "),
            "1 byte, 1\u{202F}023 bytes, 1.5 KiB, 42.9 MiB, 3.0 TiB"
        );
    }
}
