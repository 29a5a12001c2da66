//! Live numbers by server-sent events: a page gets its numbers again after each change.
//!
//! The events of a page do not count as use of the session.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Path;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use maud::Markup;
use packcast_protocol::{PackageId, PackageRef};
use packcast_publisher::page::counts;
use packcast_publisher::rollout::RolloutReader;
use packcast_publisher::{Failure, Target};

use crate::app::App;
use crate::bar::bar;
use crate::command::Commands;
use crate::page::rollout::numbers;
use crate::page_error::named;
use crate::visit::Visit;

/// The pause between two reads: 32 read units for a package, about 4 for a rollout.
const PACKAGE_PAUSE: Duration = Duration::from_secs(15);
const ROLLOUT_PAUSE: Duration = Duration::from_secs(5);

/// The number of reads after which the stream ends. The page then shows the numbers as they were.
const MOST_READS: usize = 240;

/// A page that gets its numbers again.
#[derive(Clone, Copy)]
enum Watched {
    Package(PackageId),
    Rollout(PackageId),
}

impl Watched {
    const fn pause(self) -> Duration {
        match self {
            Self::Package(_) => PACKAGE_PAUSE,
            Self::Rollout(_) => ROLLOUT_PAUSE,
        }
    }

    async fn read(self, target: &Target, commands: &Commands) -> Result<Markup, Failure> {
        match self {
            Self::Package(id) => Ok(bar(id, &counts(target, id).await?)),
            Self::Rollout(id) => {
                let package = PackageRef::Id(id);
                let mut reader = RolloutReader::open_brief(target, &package).await?;
                Ok(numbers(&reader.read().await?, commands))
            }
        }
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
pub(crate) async fn rollout(visit: Visit, Path(package): Path<String>) -> Response {
    match named(&package, "package") {
        Ok(id) => events(visit.app, Watched::Rollout(id)),
        Err(error) => visit.answer(Err(error)),
    }
}

fn events(app: App, watched: Watched) -> Response {
    let begin = (app, 0, String::new());
    let changes = stream::unfold(begin, move |(app, mut reads, last)| async move {
        let mut ended = app.ended();
        loop {
            if reads > MOST_READS {
                return None;
            }
            if reads == MOST_READS {
                // Without this event, the browser would connect again.
                let event = Event::default().event("end").data("");
                return Some((Ok::<_, Infallible>(event), (app, reads + 1, last)));
            }
            if reads > 0 {
                tokio::select! {
                    _ = ended.wait_for(Option::is_some) => return None,
                    () = tokio::time::sleep(watched.pause()) => {}
                }
            }
            reads += 1;
            let (target, _) = app.target().for_display();
            // The next read may succeed again.
            let Ok(now) = watched.read(&target, app.commands()).await else {
                continue;
            };
            let now = now.into_string();
            if now != last {
                let event = Event::default().event("numbers").data(&now);
                return Some((Ok(event), (app, reads, now)));
            }
        }
    });
    Sse::new(changes)
        .keep_alive(KeepAlive::default())
        .into_response()
}
