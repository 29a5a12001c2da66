//! The changes of a session: the effects that pages have shown, and the changes that were begun.
//!
//! Each effect that is shown has a ticket. A ticket makes one change, and only the change that was
//! shown: so a form that is sent twice changes nothing twice.

use std::collections::VecDeque;

use maud::Markup;
use packcast_protocol::{Sha256Digest, UnixTime};
use packcast_publisher::{Failure, Progress, Warning};

use super::input::Input;
use crate::command::CommandLine;
use crate::token::Token;

/// The numbers of tickets and of changes that are kept. A ticket that was forgotten shows the effect
/// again.
const TICKETS: usize = 128;
const CHANGES: usize = 64;

/// The changes of a session.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The last one is the newest.
    shown: VecDeque<Shown>,
    /// The last one is the newest.
    begun: VecDeque<BegunChange>,
    last_number: u64,
}

/// An effect that a page has shown.
#[derive(Debug)]
struct Shown {
    ticket: Token,
    digest: Sha256Digest,
    /// The change that the ticket has made.
    change: Option<u64>,
}

/// A change that was begun.
#[derive(Clone, Debug)]
pub(crate) struct BegunChange {
    /// The number of the change in this session.
    pub(crate) number: u64,
    pub(crate) request: ChangeRequest,
    pub(crate) at: UnixTime,
    pub(crate) end: ChangeEnd,
    progress: Progress,
}

/// A change as a person has requested it.
#[derive(Clone, Debug)]
pub(crate) struct ChangeRequest {
    pub(crate) title: &'static str,
    /// The address of its form.
    pub(crate) path: &'static str,
    pub(crate) input: Input,
    pub(crate) command: CommandLine,
}

/// The end of a change.
#[derive(Clone, Debug)]
pub(crate) enum ChangeEnd {
    Running,
    Done(Outcome),
    Failed(FailedChange),
}

/// The result of a change.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The result in words.
    pub(crate) body: Markup,
    /// Addresses with the result, each with the text of its link.
    pub(crate) links: Vec<(String, String)>,
    pub(crate) warnings: Vec<Warning>,
    /// Parts of the change that were not made.
    pub(crate) partly: Option<FailedChange>,
}

/// A failure in words.
#[derive(Clone, Debug)]
pub(crate) struct FailedChange {
    pub(crate) message: String,
    pub(crate) causes: Vec<String>,
    pub(crate) hints: Vec<String>,
}

/// The decision on a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The change with this number begins.
    New(u64),
    /// The ticket has begun this change before.
    Before(u64),
    /// The ticket is for another effect, or unknown.
    Other,
}

impl Outcome {
    pub(crate) fn new(body: Markup) -> Self {
        Self {
            body,
            links: Vec::new(),
            warnings: Vec::new(),
            partly: None,
        }
    }

    /// Adds the address of a page that shows the result.
    #[must_use]
    pub(crate) fn link(mut self, path: impl Into<String>, name: impl Into<String>) -> Self {
        self.links.push((path.into(), name.into()));
        self
    }

    /// Adds the failure of a part.
    #[must_use]
    pub(crate) fn partly(self, failed: Result<(), Failure>) -> Self {
        Self {
            partly: failed.err().map(|failure| FailedChange::from(&failure)),
            ..self
        }
    }
}

impl From<&Failure> for FailedChange {
    fn from(failure: &Failure) -> Self {
        Self {
            message: failure.message(),
            causes: failure.causes(),
            hints: failure.hints().to_vec(),
        }
    }
}

impl Ledger {
    /// Notes that a page has shown an effect.
    pub(crate) fn show(&mut self, ticket: Token, digest: Sha256Digest) {
        if self.shown.len() >= TICKETS {
            self.shown.pop_front();
        }
        let change = None;
        self.shown.push_back(Shown {
            ticket,
            digest,
            change,
        });
    }

    /// Returns the change that a ticket has begun.
    pub(crate) fn begun_by(&self, ticket: &str) -> Option<u64> {
        self.ticket(ticket)?.change
    }

    /// Begins a change, if its ticket was not used yet, and if the effect is still the one that was
    /// shown.
    pub(crate) fn begin(
        &mut self,
        ticket: &str,
        digest: Sha256Digest,
        request: ChangeRequest,
        progress: Progress,
        now: UnixTime,
    ) -> Begin {
        let number = self.last_number + 1;
        let mut shown = self.shown.iter_mut();
        match shown.find(|it| it.ticket.is(ticket)) {
            Some(Shown {
                change: Some(before),
                ..
            }) => return Begin::Before(*before),
            Some(shown) if shown.digest == digest => shown.change = Some(number),
            _ => return Begin::Other,
        }
        self.last_number = number;
        if self.begun.len() >= CHANGES
            && let Some(oldest) = self.begun.iter().position(|it| !it.is_running())
        {
            self.begun.remove(oldest);
        }
        self.begun.push_back(BegunChange {
            number,
            request,
            at: now,
            end: ChangeEnd::Running,
            progress,
        });
        Begin::New(number)
    }

    /// Ends a change.
    pub(crate) fn end(&mut self, number: u64, end: ChangeEnd) {
        if let Some(change) = self.begun.iter_mut().find(|it| it.number == number) {
            change.end = end;
        }
    }

    /// Returns a change; `None` if the console keeps none with this number.
    pub(crate) fn change(&self, number: u64) -> Option<&BegunChange> {
        self.begun.iter().find(|it| it.number == number)
    }

    /// Returns the changes, the newest first.
    pub(crate) fn changes(&self) -> impl Iterator<Item = &BegunChange> {
        self.begun.iter().rev()
    }

    /// Returns true if a change is running.
    pub(crate) fn is_running(&self) -> bool {
        self.begun.iter().any(BegunChange::is_running)
    }

    /// Asks the running changes to end early. The next change completes their records.
    pub(crate) fn stop_all(&self) {
        for change in self.begun.iter().filter(|it| it.is_running()) {
            change.progress.stop();
        }
    }

    fn ticket(&self, ticket: &str) -> Option<&Shown> {
        self.shown.iter().find(|it| it.ticket.is(ticket))
    }
}

impl BegunChange {
    pub(crate) const fn is_running(&self) -> bool {
        matches!(self.end, ChangeEnd::Running)
    }
}

#[cfg(test)]
mod tests {
    use maud::html;

    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn begin(ledger: &mut Ledger, ticket: &str, effect: &[u8]) -> Begin {
        let request = ChangeRequest {
            title: "Pause the target",
            path: "/change/pause",
            input: Input::default(),
            command: CommandLine::Unsafe,
        };
        let digest = Sha256Digest::of(effect);
        ledger.begin(ticket, digest, request, Progress::none(), NOW)
    }

    fn shown(ledger: &mut Ledger, effect: &[u8]) -> Token {
        let ticket = Token::random().unwrap();
        ledger.show(ticket.clone(), Sha256Digest::of(effect));
        ticket
    }

    #[test]
    fn a_ticket_makes_one_change() {
        let mut ledger = Ledger::default();
        let ticket = shown(&mut ledger, b"effect");
        assert_eq!(ledger.begun_by(ticket.reveal()), None);
        let once = begin(&mut ledger, ticket.reveal(), b"effect");
        assert_eq!(once, Begin::New(1));
        let twice = begin(&mut ledger, ticket.reveal(), b"effect");
        assert_eq!(twice, Begin::Before(1));
        assert_eq!(ledger.begun_by(ticket.reveal()), Some(1));
        // The same change again needs a ticket of its own.
        let next = shown(&mut ledger, b"effect");
        assert_eq!(begin(&mut ledger, next.reveal(), b"effect"), Begin::New(2));
    }

    #[test]
    fn a_ticket_makes_only_the_change_that_was_shown() {
        let mut ledger = Ledger::default();
        let ticket = shown(&mut ledger, b"effect");
        let other = begin(&mut ledger, ticket.reveal(), b"other effect");
        assert_eq!(other, Begin::Other);
        assert_eq!(begin(&mut ledger, "guess", b"effect"), Begin::Other);
        assert_eq!(begin(&mut ledger, "", b"effect"), Begin::Other);
        assert!(!ledger.is_running());
    }

    #[test]
    fn a_running_change_is_never_forgotten() {
        let mut ledger = Ledger::default();
        for number in 1..=200 {
            let ticket = shown(&mut ledger, b"effect");
            let begun = begin(&mut ledger, ticket.reveal(), b"effect");
            assert_eq!(begun, Begin::New(number));
            if number > 1 {
                let done = ChangeEnd::Done(Outcome::new(html! {}));
                ledger.end(number, done);
            }
        }
        assert!(ledger.is_running() && ledger.change(1).is_some());
        assert!(ledger.change(2).is_none() && ledger.change(200).is_some());
        assert_eq!((ledger.changes().count(), ledger.shown.len()), (64, 128));
    }
}
