//! The changes of a session: the effects that pages have shown, and the changes that were begun.
//!
//! Each effect that is shown has a ticket. A ticket makes one change, and only the change that was
//! shown: so a form that is sent twice changes nothing twice. Numbers of devices change while devices
//! report, so a number that has grown a little, or a stop that concerns less, is no other change.

use std::collections::VecDeque;
use std::sync::Arc;

use maud::Markup;
use packcast_protocol::UnixTime;
use packcast_publisher::{Failure, Warning};

use super::controls::Control;
use super::decision::Decision;
use super::input::Input;
use super::work::ChangeWork;
use crate::command::CommandLine;
use crate::layout::Section;
use crate::token::Token;

/// The numbers of tickets and of changes that are kept. A ticket that was forgotten shows the effect
/// again.
const TICKETS: usize = 128;
const CHANGES: usize = 64;

/// The number of changes that run at a time.
const RUNNING: usize = 8;

/// The changes of a session.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The last one is the newest.
    shown: VecDeque<Shown>,
    /// The last one is the newest.
    begun: VecDeque<BegunChange>,
    last_number: u64,
    /// The console is ending: no change begins any more.
    is_closed: bool,
}

/// An effect that a page has shown.
#[derive(Debug)]
struct Shown {
    ticket: Token,
    decision: Decision,
    /// The change that the ticket has made.
    change: Option<u64>,
}

/// A change that was begun.
#[derive(Clone, Debug)]
pub(crate) struct BegunChange {
    /// The number of the change in this session.
    pub(crate) number: u64,
    pub(crate) request: Arc<ChangeRequest>,
    pub(crate) at: UnixTime,
    pub(crate) end: Arc<ChangeEnd>,
    /// The change has ended while the console was ending, so no page has shown its result.
    is_late: bool,
    pub(super) work: ChangeWork,
}

/// A change as a person has requested it.
#[derive(Clone, Debug)]
pub(crate) struct ChangeRequest {
    pub(crate) title: &'static str,
    pub(crate) section: Section,
    /// The effect in words, such as `Assigns vlc@3.0.21 to group lab`.
    pub(crate) effect: String,
    /// The address of its form.
    pub(crate) path: &'static str,
    /// The boxes of its form.
    pub(crate) controls: &'static [Control],
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

/// A ticket for a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ticket {
    /// The ticket was not used yet, and the decision is the one that was shown.
    Valid,
    /// The ticket has begun this change before.
    Used(u64),
    /// The decision is another one.
    Changed,
    Unknown,
}

/// The answer to a change that is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The change with this number begins.
    New(u64),
    /// The ticket makes no new change.
    Refused(Ticket),
    /// Too many changes are running.
    Busy,
    /// The console is ending.
    Closed,
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
    pub(crate) fn show(&mut self, ticket: Token, decision: Decision) {
        if self.shown.len() >= TICKETS {
            // A used ticket is kept longer: its form may be sent again.
            let unused = self.shown.iter().position(|it| it.change.is_none());
            self.shown.remove(unused.unwrap_or_default());
        }
        let change = None;
        self.shown.push_back(Shown {
            ticket,
            decision,
            change,
        });
    }

    /// Returns the change that a ticket has begun.
    pub(crate) fn begun_by(&self, ticket: &str) -> Option<u64> {
        self.ticket(ticket)?.change
    }

    /// Compares a decision with the one of a ticket.
    pub(crate) fn look_up(&self, ticket: &str, decision: &Decision) -> Ticket {
        match self.ticket(ticket) {
            None => Ticket::Unknown,
            Some(Shown {
                change: Some(number),
                ..
            }) => Ticket::Used(*number),
            Some(shown) if decision.is_as_shown(&shown.decision) => Ticket::Valid,
            Some(_) => Ticket::Changed,
        }
    }

    /// Begins a change, if its ticket is valid.
    pub(crate) fn begin(
        &mut self,
        ticket: &str,
        decision: &Decision,
        request: ChangeRequest,
        work: ChangeWork,
        now: UnixTime,
    ) -> Begin {
        match self.look_up(ticket, decision) {
            Ticket::Valid if self.is_closed => return Begin::Closed,
            Ticket::Valid if self.running().count() >= RUNNING => return Begin::Busy,
            Ticket::Valid => {}
            refused => return Begin::Refused(refused),
        }
        self.last_number += 1;
        let number = self.last_number;
        let mut shown = self.shown.iter_mut();
        if let Some(shown) = shown.find(|it| it.ticket.is(ticket)) {
            shown.change = Some(number);
        }
        if self.begun.len() >= CHANGES
            && let Some(oldest) = self.begun.iter().position(|it| !it.is_running())
        {
            self.begun.remove(oldest);
        }
        self.begun.push_back(BegunChange {
            number,
            request: Arc::new(request),
            at: now,
            end: Arc::new(ChangeEnd::Running),
            is_late: false,
            work,
        });
        Begin::New(number)
    }

    /// Ends a change.
    pub(crate) fn end(&mut self, number: u64, end: ChangeEnd) {
        if let Some(change) = self.begun.iter_mut().find(|it| it.number == number) {
            if matches!(end, ChangeEnd::Done(_)) {
                // Only a failed change needs its form again.
                change.request = Arc::new(ChangeRequest {
                    input: Input::default(),
                    ..(*change.request).clone()
                });
            }
            change.end = Arc::new(end);
            change.is_late = self.is_closed;
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

    /// Returns the running changes.
    pub(crate) fn running(&self) -> impl Iterator<Item = &BegunChange> {
        self.begun.iter().filter(|it| it.is_running())
    }

    /// Lets no change begin any more, and asks the running ones to end early. The next change completes
    /// their records.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        self.running()
            .for_each(|change| change.work.progress.stop());
    }

    /// Returns warnings of the changes whose result no page has shown.
    pub(crate) fn late_warnings(&self) -> Vec<Warning> {
        let late = self.begun.iter().filter(|it| it.is_late);
        late.flat_map(BegunChange::warnings).collect()
    }

    fn ticket(&self, ticket: &str) -> Option<&Shown> {
        self.shown.iter().find(|it| it.ticket.is(ticket))
    }
}

impl BegunChange {
    /// Returns the failure of the change, or the warnings of its result.
    fn warnings(&self) -> Vec<Warning> {
        let of = |failed: &FailedChange| {
            let what = format!("{}: {}", self.request.effect, failed.message);
            let warning = Warning::new(what);
            match failed.hints.first() {
                Some(hint) => warning.hint(hint),
                None => warning,
            }
        };
        match &*self.end {
            ChangeEnd::Running => Vec::new(),
            ChangeEnd::Failed(failed) => vec![of(failed)],
            ChangeEnd::Done(outcome) => {
                let partly = outcome.partly.iter().map(of);
                partly.chain(outcome.warnings.iter().cloned()).collect()
            }
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(*self.end, ChangeEnd::Running)
    }
}

#[cfg(test)]
mod tests {
    use maud::html;
    use packcast_publisher::page::ReadMeter;

    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn begin(ledger: &mut Ledger, ticket: &str, decision: &Decision) -> Begin {
        let request = ChangeRequest {
            title: "Pause the target",
            section: Section::Now,
            effect: "Pauses target local".to_owned(),
            path: "/change/pause",
            controls: &[],
            input: Input::default(),
            command: CommandLine::Unsafe,
        };
        let work = ChangeWork::new(ReadMeter::default());
        ledger.begin(ticket, decision, request, work, NOW)
    }

    fn shown(ledger: &mut Ledger, decision: &Decision) -> Token {
        let ticket = Token::random().unwrap();
        ledger.show(ticket.clone(), decision.clone());
        ticket
    }

    fn starting(devices: u64) -> Decision {
        Decision::starting("assigns", devices)
    }

    #[test]
    fn a_ticket_makes_one_change() {
        let (mut ledger, decision) = (Ledger::default(), starting(5));
        let ticket = shown(&mut ledger, &decision);
        assert_eq!(ledger.begun_by(ticket.reveal()), None);
        let once = begin(&mut ledger, ticket.reveal(), &decision);
        assert_eq!(once, Begin::New(1));
        let twice = begin(&mut ledger, ticket.reveal(), &decision);
        assert_eq!(twice, Begin::Refused(Ticket::Used(1)));
        assert_eq!(ledger.begun_by(ticket.reveal()), Some(1));
        // The same change again needs a ticket of its own.
        let next = shown(&mut ledger, &decision);
        let again = begin(&mut ledger, next.reveal(), &decision);
        assert_eq!(again, Begin::New(2));
    }

    #[test]
    fn a_ticket_makes_only_the_change_that_was_shown() {
        let (mut ledger, decision) = (Ledger::default(), starting(5));
        let ticket = shown(&mut ledger, &decision);
        let changed = begin(
            &mut ledger,
            ticket.reveal(),
            &Decision::starting("other", 5),
        );
        assert_eq!(changed, Begin::Refused(Ticket::Changed));
        for unknown in ["guess", ""] {
            let refused = begin(&mut ledger, unknown, &decision);
            assert_eq!(refused, Begin::Refused(Ticket::Unknown));
        }
        assert_eq!(ledger.running().count(), 0);
    }

    #[test]
    fn no_change_begins_while_the_console_ends_or_too_many_are_running() {
        let (mut ledger, decision) = (Ledger::default(), starting(5));
        for _ in 0..RUNNING {
            let ticket = shown(&mut ledger, &decision);
            begin(&mut ledger, ticket.reveal(), &decision);
        }
        let ticket = shown(&mut ledger, &decision);
        let busy = begin(&mut ledger, ticket.reveal(), &decision);
        assert_eq!(busy, Begin::Busy);
        ledger.end(1, ChangeEnd::Done(Outcome::new(html! {})));
        ledger.close();
        let closed = begin(&mut ledger, ticket.reveal(), &decision);
        assert_eq!(closed, Begin::Closed);
    }

    #[test]
    fn a_running_change_is_never_forgotten() {
        let (mut ledger, decision) = (Ledger::default(), starting(5));
        for number in 1..=200 {
            let ticket = shown(&mut ledger, &decision);
            let begun = begin(&mut ledger, ticket.reveal(), &decision);
            assert_eq!(begun, Begin::New(number));
            if number > 1 {
                let done = ChangeEnd::Done(Outcome::new(html! {}));
                ledger.end(number, done);
            }
        }
        assert!(ledger.running().count() == 1 && ledger.change(1).is_some());
        assert!(ledger.change(2).is_none() && ledger.change(200).is_some());
        assert_eq!((ledger.changes().count(), ledger.shown.len()), (64, 128));
    }
}
