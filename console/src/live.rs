//! Live numbers by server-sent events: a page gets its numbers again after each change, with the time
//! and the cost of each read, and learns when a read fails and when there is nothing more to come.
//!
//! The events of a page do not count as use of the session.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, Query};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use packcast_protocol::{PackageId, PackageRef, UnixTime};
use packcast_publisher::page::counts;
use packcast_publisher::rollout::RolloutReader;
use packcast_publisher::text::time;
use packcast_publisher::{Failure, Kind, Target};
use tokio::sync::mpsc;

use crate::app::App;
use crate::bar::{bar, label};
use crate::command::Commands;
use crate::page::rollout::{Choice, numbers, summary};
use crate::page_error::named;
use crate::visit::Visit;

/// The pause before each read: 32 read units for a package, about 4 for a rollout. With devices, a
/// rollout reads the states of all its devices, too.
const PACKAGE_PAUSE: Duration = Duration::from_secs(15);
const ROLLOUT_PAUSE: Duration = Duration::from_secs(5);
const DEVICES_PAUSE: Duration = Duration::from_secs(30);

/// The number of reads after which the stream ends. The page then shows the numbers as they were.
const MOST_READS: usize = 240;

/// A page that gets its numbers again.
#[derive(Clone, Copy)]
enum Watched {
    Package(PackageId),
    Rollout {
        package: PackageId,
        with_devices: bool,
    },
}

/// The numbers of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Numbers {
    html: String,
    /// The numbers in a sentence, for people who hear the page.
    summary: String,
    /// The reason for which the numbers cannot change any more; `None` if they can.
    end: Option<&'static str>,
}

/// The name and the content of an event.
type Named = (&'static str, String);

impl Watched {
    const fn pause(self) -> Duration {
        match self {
            Self::Package(_) => PACKAGE_PAUSE,
            Self::Rollout {
                with_devices: true, ..
            } => DEVICES_PAUSE,
            Self::Rollout { .. } => ROLLOUT_PAUSE,
        }
    }

    /// Reads the numbers. The reader of a rollout is kept, because it reads the members of groups only
    /// once.
    async fn read<'a>(
        self,
        target: &'a Target,
        reader: &mut Option<RolloutReader<'a>>,
        app: &App,
        now: UnixTime,
    ) -> Result<Numbers, Failure> {
        let (package, with_devices) = match self {
            Self::Package(id) => {
                let counts = counts(target, id).await?;
                return Ok(Numbers {
                    html: bar(id, &counts).into_string(),
                    summary: label(&counts),
                    end: None,
                });
            }
            Self::Rollout {
                package,
                with_devices,
            } => (PackageRef::Id(package), with_devices),
        };
        let reader = match reader {
            Some(reader) => reader,
            None if with_devices => {
                reader.insert(RolloutReader::open_with_states(target, &package).await?)
            }
            None => reader.insert(RolloutReader::open_brief(target, &package).await?),
        };
        let details = reader.read().await?;
        Ok(Numbers {
            html: numbers(&details, with_devices, app, now).into_string(),
            summary: summary(&details, app),
            end: (!reader.is_live()).then_some("The rollout has ended."),
        })
    }
}

/// Sends the bar of a package after each change.
pub(crate) async fn package(visit: Visit, Path(package): Path<String>) -> Response {
    match named(&package, "package") {
        Ok(id) => events(visit.app, Watched::Package(id)),
        Err(error) => visit.answer(Err(error)),
    }
}

/// Sends the numbers of a rollout after each change.
pub(crate) async fn rollout(
    visit: Visit,
    Path(package): Path<String>,
    Query(choice): Query<Choice>,
) -> Response {
    match named(&package, "package") {
        Ok(package) => events(
            visit.app,
            Watched::Rollout {
                package,
                with_devices: choice.with_devices(),
            },
        ),
        Err(error) => visit.answer(Err(error)),
    }
}

fn events(app: App, watched: Watched) -> Response {
    let (sender, receiver) = mpsc::channel::<Named>(1);
    tokio::spawn(async move {
        let mut ended = app.ended();
        tokio::select! {
            _ = ended.wait_for(Option::is_some) => {}
            // The page was closed.
            () = sender.closed() => {}
            () = watch(&app, watched, &sender) => {}
        }
    });
    let events = stream::unfold(receiver, |mut receiver| async move {
        let (name, text) = receiver.recv().await?;
        // Lines of an event cannot end with a carriage return.
        let event = Event::default().event(name).data(text.replace('\r', " "));
        Some((Ok::<_, Infallible>(event), receiver))
    });
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

/// Reads the numbers again and again. The page has them already, so each read comes after a pause.
async fn watch(app: &App, watched: Watched, sender: &mpsc::Sender<Named>) {
    let (target, meter) = app.target().for_display();
    let (mut reader, mut last, mut units) = (None, None, 0.0);
    for _ in 0..MOST_READS {
        tokio::time::sleep(watched.pause()).await;
        let now = app.now();
        let read = watched.read(&target, &mut reader, app, now);
        let read = read.await;
        let used = meter.usage().units;
        let cost = used - std::mem::replace(&mut units, used);
        let (events, is_over) = told(read, &mut last, now, cost, app.commands());
        for event in events {
            if sender.send(event).await.is_err() {
                return;
            }
        }
        if is_over {
            return;
        }
    }
    // Without this event, the browser would connect again.
    let text = "The numbers no longer change by themselves. Reload the page to go on.";
    let _ = sender.send(("end", text.to_owned())).await;
}

/// Returns the events after a read, and true after the last one. `last` is the last numbers.
fn told(
    read: Result<Numbers, Failure>,
    last: &mut Option<Numbers>,
    now: UnixTime,
    cost: f64,
    commands: &Commands,
) -> (Vec<Named>, bool) {
    let mut events = vec![("cost", format!("{cost:.1}"))];
    let is_over = match read {
        Ok(numbers) => {
            if last.as_ref() != Some(&numbers) {
                events.push(("numbers", numbers.html.clone()));
                // The first read only confirms the page.
                if last
                    .as_ref()
                    .is_some_and(|it| it.summary != numbers.summary)
                {
                    events.push(("summary", numbers.summary.clone()));
                }
            }
            events.push(("time", time(now)));
            let end = numbers.end;
            *last = Some(numbers);
            if let Some(end) = end {
                events.push(("end", format!("{end} The numbers do not change any more.")));
            }
            end.is_some()
        }
        Err(failure) => {
            let mut texts = vec![failure.message()];
            texts.extend(failure.causes());
            let cause = commands.in_text(&texts.join(": "));
            // Only these failures can pass without a person.
            let is_over = !failure.is_unreachable() && failure.kind() != Kind::TryLater;
            events.push(if is_over {
                (
                    "end",
                    format!("The numbers are old, and do not change any more: {cause}"),
                )
            } else {
                (
                    "stale",
                    format!("The numbers are old. The console retries after this error: {cause}"),
                )
            });
            is_over
        }
    };
    (events, is_over)
}

#[cfg(test)]
mod tests {
    use packcast_publisher::shell::Shell;

    use super::*;

    #[test]
    fn a_page_learns_of_changes_failures_and_the_end() {
        let commands = Commands::new(String::new(), Shell::Posix);
        let mut last = None;
        let mut lines = Vec::new();
        let numbers = |summary: &str, end| {
            Ok(Numbers {
                html: format!("<p>{summary}</p>"),
                summary: summary.to_owned(),
                end,
            })
        };
        let reads = [
            numbers("1 healthy", None),
            numbers("1 healthy", None),
            numbers("2 healthy", None),
            Err(Failure::new(Kind::TryLater, "cannot read the gate")),
            numbers("2 healthy", None),
            Err(Failure::conflict("package vlc@3 has no live rollout")),
            numbers("3 healthy", Some("The rollout has ended.")),
        ];
        for read in reads {
            let now = UnixTime(1_795_000_000);
            let (events, is_over) = told(read, &mut last, now, 4.0, &commands);
            let events = events.into_iter().filter(|(name, _)| *name != "cost");
            let events = events.map(|(name, text)| format!("{name}={text}"));
            let line = events.collect::<Vec<_>>().join("; ");
            lines.push(if is_over {
                format!("{line} (over)")
            } else {
                line
            });
        }
        insta::assert_snapshot!(lines.join("\n"), @r"
        numbers=<p>1 healthy</p>; time=2026-11-18 11:06:40 UTC
        time=2026-11-18 11:06:40 UTC
        numbers=<p>2 healthy</p>; summary=2 healthy; time=2026-11-18 11:06:40 UTC
        stale=The numbers are old. The console retries after this error: cannot read the gate
        time=2026-11-18 11:06:40 UTC
        end=The numbers are old, and do not change any more: package vlc@3 has no live rollout (over)
        numbers=<p>3 healthy</p>; summary=3 healthy; time=2026-11-18 11:06:40 UTC; end=The rollout has ended. The numbers do not change any more. (over)
        ");
    }
}
