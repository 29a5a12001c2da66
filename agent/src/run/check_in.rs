//! Check-ins: the agent sends waiting results, and receives tasks and the signed state.

use packcast_protocol::api::{
    Admission, BoundedText, CheckInReply, CheckInRequest, DailyFacts, DeviceFacts, Report,
};
use packcast_protocol::state::exchange::MachineFacts;
use packcast_protocol::with_causes;

use super::{Agent, RunError, unaccepted};
use crate::client::ClientError;
use crate::clock::now;
use crate::state::identity;
use crate::state::journal::{self, Journal, StoredJournal};

/// The shortest and longest pause between two check-ins, in seconds, regardless of the reply.
const CHECK_IN_RANGE_S: std::ops::RangeInclusive<u32> = 1..=7 * 24 * 3600;

/// An answered check-in.
struct CheckedIn {
    reply: CheckInReply,
    /// `true` if the device asks again at once for the rest of the signed state.
    asks_again: bool,
}

impl Agent {
    fn unaccepted(&self) -> Vec<Report> {
        let journals = journal::read_all(&self.state).into_values();
        let reports = journals.filter_map(|found| match found {
            StoredJournal::Read(Journal::Finished(finished)) => Some(finished.to_send()),
            _ => None,
        });
        unaccepted::batch(reports)
    }

    /// Checks in, and again at once while the device lacks parts of the signed state.
    ///
    /// Returns the last reply: each reply has all tasks and cancellations.
    pub(super) async fn check_in(&self) -> Result<CheckInReply, RunError> {
        let mut asked = 1;
        let CheckedIn {
            mut reply,
            mut asks_again,
        } = self.check_in_once(asked).await?;
        while asks_again {
            asked += 1;
            match self.check_in_once(asked).await {
                Ok(next) => CheckedIn { reply, asks_again } = next,
                Err(error) => {
                    let error = with_causes(&error);
                    tracing::warn!(error, "cannot ask for the rest of the signed state");
                    break;
                }
            }
        }
        Ok(reply)
    }

    /// Checks in with the waiting results, and with the daily facts if they are due.
    ///
    /// If the server refuses the facts, or a request of this size, the agent checks in again without
    /// them. If the request is still too large, the agent also leaves out the programs' output.
    async fn check_in_once(&self, asked: u32) -> Result<CheckedIn, RunError> {
        let facts = facts();
        let due = self.due_facts(&facts).await;
        let results = self.unaccepted();
        let daily = due.as_ref().map(|due| &due.facts);
        let checked_in = match self.check_in_with(&facts, daily, &results, asked).await {
            // A result must not be stuck because a proxy or a server has a small limit.
            Err(RunError::Client(error))
                if error.is_too_large() && !(results.is_empty() && due.is_none()) =>
            {
                self.check_in_smaller(&facts, daily, &results, asked, error)
                    .await?
            }
            Err(RunError::Client(error)) if error.is_bad_request() && due.is_some() => {
                tracing::warn!(
                    error = error.to_string(),
                    "checking in again without daily facts"
                );
                let checked_in = self.check_in_with(&facts, None, &results, asked).await?;
                // The facts were the cause, so this process states no facts any more.
                self.facts_refused.set(true);
                checked_in
            }
            checked_in => checked_in?,
        };
        if let Some(due) = due.filter(|_| checked_in.reply.daily_recorded) {
            self.facts_recorded(&due);
        }
        self.settle(&results, &checked_in.reply.accepted).await;
        Ok(checked_in)
    }

    /// Checks in again after a request that was too large: without daily facts, and then without the
    /// programs' output.
    async fn check_in_smaller(
        &self,
        facts: &DeviceFacts,
        daily: Option<&DailyFacts>,
        results: &[Report],
        asked: u32,
        mut error: ClientError,
    ) -> Result<CheckedIn, RunError> {
        // The next day has other facts, but no program writes its output again.
        if daily.is_some() {
            tracing::warn!(
                error = error.to_string(),
                "checking in again without daily facts"
            );
            match self.check_in_with(facts, None, results, asked).await {
                Err(RunError::Client(again)) if again.is_too_large() && !results.is_empty() => {
                    error = again;
                }
                checked_in => return checked_in,
            }
        }
        tracing::warn!(
            error = error.to_string(),
            "checking in again without the programs' output"
        );
        let shorter = unaccepted::without_output(results.to_vec());
        self.check_in_with(facts, None, &shorter, asked).await
    }

    /// Checks in with the pass, or with the enrolment token if no pass is valid.
    async fn check_in_with(
        &self,
        facts: &DeviceFacts,
        daily: Option<&DailyFacts>,
        results: &[Report],
        asked: u32,
    ) -> Result<CheckedIn, RunError> {
        let known = self.followed.borrow().known_time();
        let held = self.followed.borrow().summary();
        let request = CheckInRequest {
            facts: facts.clone(),
            machine: self.machine_facts(),
            daily: daily.cloned(),
            results: results.to_vec(),
            waits: self.waiting.borrow().for_request(),
            holds: held.clone(),
        };
        let send =
            async |admission: Admission| self.api.check_in(&admission, &request, known).await;
        let pass = if self.is_copy() {
            // The stored pass is for the identity of the other machine.
            None
        } else {
            identity::load_pass(&self.state)?
        };
        let has_pass = pass.is_some();
        let mut reply = match pass {
            Some(pass) => send(Admission::Pass(pass)).await,
            None => send(self.enrolment_token()?).await,
        };
        // The pass is invalid if the target has a new pass key. The token enrols the device again.
        if has_pass && reply.as_ref().is_err_and(ClientError::is_not_enrolled) {
            reply = send(self.enrolment_token()?).await;
        }
        if self.is_copy() && reply.as_ref().is_err_and(ClientError::is_not_enrolled) {
            return Err(self.not_enrolled());
        }
        let mut reply = reply?;
        // Before the pass, because the stored pass of the other machine is invalid for the new key.
        self.adopt_identity()?;
        if let Some(pass) = &reply.pass {
            // Without a stored pass, the next check-in sends the enrolment token again.
            if let Err(error) = identity::store_pass(&self.state, pass) {
                tracing::error!(error = with_causes(&error), "cannot store the pass");
            }
        }
        let asks_again = self.accept_state(&mut reply, &held, asked);
        Ok(CheckedIn { reply, asks_again })
    }

    fn machine_facts(&self) -> MachineFacts {
        let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
        let (machine, boot) = (self.machine.first(), crate::platform::boot_id());
        MachineFacts::new(&platform, machine.as_deref(), boot.as_deref(), now())
    }

    fn enrolment_token(&self) -> Result<Admission, RunError> {
        let token = self.config.enrolment_token()?;
        token
            .map(Admission::Token)
            .ok_or_else(|| self.not_enrolled())
    }
}

pub(super) fn next_check_in_s(reply: &CheckInReply) -> u32 {
    let (shortest, longest) = CHECK_IN_RANGE_S.into_inner();
    reply.next_check_in_s.clamp(shortest, longest)
}

fn facts() -> DeviceFacts {
    DeviceFacts {
        host_name: BoundedText::tail(&crate::platform::host_name()),
        os: BoundedText::tail(std::env::consts::OS),
        arch: BoundedText::tail(std::env::consts::ARCH),
        agent: BoundedText::tail(concat!("packcast-agent ", env!("CARGO_PKG_VERSION"))),
    }
}
