//! The frame of all pages: navigation, warnings, command lines and the cost.

use maud::{DOCTYPE, Markup, html};
use packcast_protocol::{UnixTime, terminal};
use packcast_publisher::Warning;
use packcast_publisher::text::time;

use crate::assets;
use crate::change::address::CHANGES;
use crate::command::{CommandLine, Commands};
use crate::key::KeyState;
use crate::page_error::PageError;
use crate::token::Token;
use crate::words::text;

/// The sections of the console, in the order of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Now,
    Packages,
    Groups,
    Devices,
    Rollouts,
    History,
}

/// The content of a page.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) title: String,
    /// The section in the navigation; `None` on pages of errors.
    pub(crate) section: Option<Section>,
    /// The command lines that show the same.
    pub(crate) commands: Vec<CommandLine>,
    pub(crate) body: Markup,
}

/// The frame of a page.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    /// The name of the target.
    pub(crate) target: &'a str,
    /// The token of the session for its forms.
    pub(crate) form: &'a Token,
    pub(crate) commands: &'a Commands,
    pub(crate) key: KeyState,
}

/// The cost of a page.
#[derive(Debug)]
pub(crate) struct Footer {
    pub(crate) requests: u64,
    pub(crate) units: f64,
    pub(crate) milliseconds: u128,
}

impl Section {
    const ALL: [Self; 6] = [
        Self::Now,
        Self::Packages,
        Self::Groups,
        Self::Devices,
        Self::Rollouts,
        Self::History,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Now => "Now",
            Self::Packages => "Packages",
            Self::Groups => "Groups",
            Self::Devices => "Devices",
            Self::Rollouts => "Rollouts",
            Self::History => "History",
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Now => "/",
            Self::Packages => "/packages",
            Self::Groups => "/groups",
            Self::Devices => "/devices",
            Self::Rollouts => "/rollouts",
            Self::History => "/history",
        }
    }
}

/// Writes a whole document.
pub(crate) fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (terminal::line(title)) " · Packcast" }
                link rel="stylesheet" href=(assets::STYLE);
                script src=(assets::SCRIPT) defer {}
            }
            body { (body) }
        }
    }
}

/// Writes a page of a person who is signed in.
pub(crate) fn page(
    frame: &Frame<'_>,
    view: &View,
    warnings: &[Warning],
    footer: Option<&Footer>,
) -> Markup {
    let target = frame.target;
    let body = html! {
        a.skip href="#main" { "Skip to the content" }
        header.top {
            div.inner {
                a.brand href="/" { "Packcast" }
                span.target title="Target" { (text(target)) }
                @if frame.key == KeyState::ReadOnly { span.target { "read-only" } }
                form.end method="post" action="/end" {
                    input type="hidden" name="form" value=(frame.form.reveal());
                    button.quiet { "End session" }
                }
                nav aria-label="Sections" {
                    ul {
                        @for section in Section::ALL {
                            li {
                                a href=(section.path())
                                    aria-current=[(view.section == Some(section)).then_some("page")] {
                                    (section.name())
                                }
                            }
                        }
                    }
                }
            }
        }
        main #main tabindex="-1" {
            h1 { (text(&view.title)) }
            @for warning in warnings { (notice(warning, frame.commands)) }
            (view.body)
            (command_lines(&view.commands))
        }
        footer {
            p {
                @if let Some(footer) = footer {
                    "Read " strong { (units(footer.units)) } " read units in "
                    (footer.requests) " requests, "
                    (footer.milliseconds) " ms." span #live-cost {}
                }
                " Target: " (text(target)) "."
            }
            p {
                label { input #exact-times type="checkbox"; " Exact times" }
                @match frame.key {
                    KeyState::ReadOnly => {},
                    KeyState::Locked => { " · " a href=(CHANGES) { "Changes of this session" } },
                    KeyState::Unlocked => {
                        " · " a href=(CHANGES) { "Changes of this session; the signing key is unlocked" }
                    },
                }
            }
        }
    };
    document(&view.title, &body)
}

/// Writes the place of the numbers that change, with their time. `path` is the address of the events.
pub(crate) fn live_numbers(path: &str, now: UnixTime, numbers: &Markup) -> Markup {
    html! {
        div #live data-live=(path) { (numbers) }
        p.soft {
            "As of " span #live-time { (time(now)) } " "
            // The script shows the button: numbers that change by themselves can be stopped.
            button.quiet #live-pause type="button" hidden { "Pause live numbers" }
        }
        p #live-note role="status" {}
        p.hidden #live-summary role="status" {}
    }
}

/// Writes a number of read units.
pub(crate) fn units(units: f64) -> String {
    format!("{units:.1}")
}

/// Writes a warning.
pub(crate) fn notice(warning: &Warning, commands: &Commands) -> Markup {
    html! {
        div.notice.warn {
            p { strong { "Warning: " } (text(&commands.in_text(&warning.text))) }
            @if let Some(hint) = &warning.hint { p.soft { (text(&commands.in_text(hint))) } }
        }
    }
}

/// Writes the command lines that show the same as a page.
fn command_lines(lines: &[CommandLine]) -> Markup {
    html! {
        @if !lines.is_empty() {
            section.commands aria-labelledby="commands" {
                h2 #commands { "The same on the command line" }
                ul {
                    @for line in lines {
                        li { (command_line(line)) }
                    }
                }
            }
        }
    }
}

fn command_line(line: &CommandLine) -> Markup {
    html! {
        @match line {
            CommandLine::Paste(line) => {
                code { (line) }
                // The script shows the button: it does nothing without the script.
                button.copy.quiet type="button" hidden data-copy=(line) { "Copy" }
            },
            CommandLine::Unsafe => span.soft {
                "There is no command to paste here: a name contains characters that a shell could \
                 misread."
            },
        }
    }
}

/// Writes a failure with its causes and the next steps.
pub(crate) fn failure_notice(
    kind: &str,
    message: &str,
    causes: &[String],
    hints: &[String],
    commands: &Commands,
) -> Markup {
    html! {
        section class={ "notice " (kind) } role="alert" {
            p { strong { (text(&commands.in_text(message))) } }
            @for cause in causes { p { "Cause: " (text(cause)) } }
            @if !hints.is_empty() {
                h2 { "Next steps" }
                ul { @for hint in hints { li { (text(&commands.in_text(hint))) } } }
            }
        }
    }
}

/// Returns the content of a page that cannot be shown, with the next steps.
pub(crate) fn error(error: &PageError, commands: &Commands) -> View {
    let (message, causes, hints) = error.texts();
    View {
        title: "This page cannot be shown".to_owned(),
        section: None,
        commands: Vec::new(),
        body: html! {
            (failure_notice("bad", &message, &causes, &hints, commands))
            p { "Nothing was changed. Reload the page to try again." }
        },
    }
}
