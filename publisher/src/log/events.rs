//! Events in a log.

use std::collections::VecDeque;

use packcast_protocol::{UnixTime, with_causes};
use packcast_rollout::{EventTime, UnsignedChange};
use packcast_store::records::{EventCursor, EventRecord};
use packcast_store::{Records, RecordsError};
use serde::Serialize;

use super::{LogFilter, LogRequest};
use crate::state::RecordedNames;

/// Maximum number of events that one query reads.
const EVENTS_AT_ONCE: u16 = 500;

/// An event in a log: a change that is not part of the signed state.
#[derive(Clone, Debug, Serialize)]
pub struct LoggedEvent {
    /// Time of the change, by the clock of its author.
    pub issued: UnixTime,
    /// The same time with its microseconds.
    #[serde(skip)]
    pub at: EventTime,
    pub author: String,
    pub host: String,
    pub standing: EventStanding,
    /// The reason why the event cannot be read.
    pub problem: Option<String>,
    /// The change. Empty if the event cannot be read.
    pub changes: Vec<UnsignedChange>,
    /// The change in words.
    pub lines: Vec<String>,
}

/// The standing of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventStanding {
    /// No signature protects the event.
    Unsigned,
}

impl LoggedEvent {
    pub(super) fn of(read: EventRecord, names: &RecordedNames) -> Self {
        let empty = Self {
            issued: read.at.second(),
            at: read.at,
            author: String::new(),
            host: String::new(),
            standing: EventStanding::Unsigned,
            problem: None,
            changes: Vec::new(),
            lines: Vec::new(),
        };
        match read.event {
            Ok(event) => Self {
                author: event.user.to_string(),
                host: event.host.to_string(),
                lines: vec![event.change.line(names)],
                changes: vec![event.change],
                ..empty
            },
            Err(problem) => Self {
                problem: Some(with_causes(&problem)),
                ..empty
            },
        }
    }
}

/// The events of a target, the newest first.
pub(super) struct PastEvents<'a> {
    records: &'a Records,
    before: EventTime,
    /// Number of events that one query reads.
    at_once: u16,
    read: VecDeque<EventRecord>,
    next: NextEvents,
}

/// The query for more events.
enum NextEvents {
    From(Option<EventCursor>),
    /// All events were read.
    End,
}

impl<'a> PastEvents<'a> {
    pub(super) fn new(records: &'a Records, request: &LogRequest) -> Self {
        let before = request.before.map(UnixTime).map(EventTime::of_second);
        let last = request.after.and_then(|place| place.event);
        let before = before.into_iter().chain(last).min();
        Self {
            records,
            before: before.unwrap_or(EventTime::of_microseconds(u64::MAX)),
            at_once: u16::try_from(request.limit)
                .map_or(EVENTS_AT_ONCE, |it| it.min(EVENTS_AT_ONCE)),
            read: VecDeque::new(),
            next: if request.is_signed_only {
                NextEvents::End
            } else {
                NextEvents::From(None)
            },
        }
    }

    /// Returns the newest event that was not taken yet and that matches a filter. `None` if there
    /// is none.
    pub(super) async fn newest(
        &mut self,
        filter: &LogFilter,
    ) -> Result<Option<&EventRecord>, RecordsError> {
        while self.read.is_empty()
            && let NextEvents::From(from) = &self.next
        {
            let query = self.records.events(self.before, from.clone(), self.at_once);
            let (events, next) = query.await?;
            self.next = next.map_or(NextEvents::End, |next| NextEvents::From(Some(next)));
            let matching = events
                .into_iter()
                .filter(|event| filter.matches_event(event));
            self.read.extend(matching);
        }
        Ok(self.read.front())
    }

    /// Takes the event that [`PastEvents::newest`] has returned.
    pub(super) fn take(&mut self) -> Option<EventRecord> {
        self.read.pop_front()
    }
}
