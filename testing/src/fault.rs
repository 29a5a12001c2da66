//! Faults that the embedded engine never has and the cloud does: conflicts, throttling, lost
//! answers, an index that lags behind.

mod held_items;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_smithy_runtime_api::client::http::{
    HttpConnector as _, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use bytes::Bytes;
use packcast_store::RecordsError;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use self::held_items::{Held, HeldItems, Refusal};
pub use self::held_items::{HoldTimes, RefusedWrites};
use crate::layer::{Layer, layered};
use crate::wire;

/// Rates of faults, in thousandths of the requests that each fault can happen to.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultRates {
    /// Transactions that meet another one.
    pub conflicts: u16,
    /// Updates of one item that meet a transaction.
    pub update_conflicts: u16,
    /// Requests refused for their rate.
    pub throttles: u16,
    /// Requests that are performed, and whose answer never arrives.
    pub lost_answers: u16,
    /// Batches of writes of which only a part is performed.
    pub unprocessed: u16,
    /// Queries of an index that get the answer of an earlier, equal Query.
    pub index_lag: u16,
}

/// Number of times that each fault was injected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    pub conflicts: u32,
    pub update_conflicts: u32,
    pub throttles: u32,
    pub lost_answers: u32,
    pub unprocessed: u32,
    pub index_lag: u32,
}

/// A client of the records' service that injects faults into the requests of another client.
#[derive(Clone, Debug)]
pub struct FakeFaults {
    client: SharedHttpClient,
    state: Arc<Mutex<FaultState>>,
}

#[derive(Debug)]
struct FaultState {
    random: fastrand::Rng,
    rates: FaultRates,
    /// The number of requests that are still performed; `None` for all.
    left: Option<u32>,
    /// The number of writes that are still performed; `None` for all.
    left_writes: Option<u32>,
    injected: Injected,
    index_answers: HashMap<Bytes, (u16, Bytes)>,
    /// The duration of writes; `None` if writes of one item never meet.
    hold_times: Option<HoldTimes>,
    held: HeldItems,
}

/// A write in progress, which ends when this value is dropped.
#[derive(Debug)]
struct WriteInProgress {
    faults: FakeFaults,
    held: Held,
    /// The earliest time of the answer.
    until: Instant,
}

impl Drop for WriteInProgress {
    fn drop(&mut self) {
        self.faults.state().held.end(&self.held);
    }
}

/// The fate of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Performed,
    Conflict,
    UpdateConflict,
    Throttle,
    LostAnswer,
    Unprocessed,
    Denied,
}

impl FakeFaults {
    /// Returns a client over plain HTTP that injects faults.
    pub fn new(seed: u64, rates: FaultRates) -> Self {
        let client = aws_smithy_http_client::Builder::new().build_http();
        Self::before(client, seed, rates)
    }

    /// Returns a client that injects faults before it calls another client.
    pub fn before(client: SharedHttpClient, seed: u64, rates: FaultRates) -> Self {
        let state = FaultState {
            random: fastrand::Rng::with_seed(seed),
            rates,
            left: None,
            left_writes: None,
            injected: Injected::default(),
            index_answers: HashMap::new(),
            hold_times: None,
            held: HeldItems::default(),
        };
        Self {
            client,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Returns the HTTP client for `RecordsConfig`.
    pub fn http_client(&self) -> SharedHttpClient {
        layered(self.clone(), self.client.clone())
    }

    /// Changes the rates from now on.
    pub fn set_rates(&self, rates: FaultRates) {
        self.state().rates = rates;
    }

    /// Denies every request after this number of further ones, as if the process had ended there.
    /// `None` performs all requests again.
    pub fn deny_after(&self, requests: Option<u32>) {
        self.state().left = requests;
    }

    /// Denies every write after this number of further ones, as if the process had ended before it.
    /// `None` performs all writes again.
    pub fn deny_after_writes(&self, writes: Option<u32>) {
        self.state().left_writes = writes;
    }

    pub fn injected(&self) -> Injected {
        self.state().injected
    }

    /// Lets writes take this time from now on, so that writes of one item meet and are refused as in
    /// the cloud. With `None`, each write is answered as soon as the service has performed it, and
    /// none is refused.
    pub fn hold_items(&self, times: Option<HoldTimes>) {
        self.state().hold_times = times;
    }

    /// Returns the writes that were refused since the start because of other writes.
    pub fn refused_writes(&self) -> RefusedWrites {
        self.state().held.refused.clone()
    }

    /// Begins a request. Returns `None` if it holds no item.
    fn begin(&self, operation: &str, body: &[u8]) -> Result<Option<WriteInProgress>, Refusal> {
        let mut state = self.state();
        let Some(times) = state.hold_times else {
            return Ok(None);
        };
        let held = state.held.begin(operation, body)?;
        Ok(held.map(|held| WriteInProgress {
            until: Instant::now()
                + if held.is_transaction {
                    times.transaction
                } else {
                    times.single
                },
            faults: self.clone(),
            held,
        }))
    }

    fn state(&self) -> MutexGuard<'_, FaultState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultState {
    fn chance(&mut self, per_mille: u16) -> bool {
        self.random.u16(0..1000) < per_mille
    }

    fn fate(&mut self, operation: &str) -> Fate {
        if let Some(left) = &mut self.left {
            let Some(next) = left.checked_sub(1) else {
                return Fate::Denied;
            };
            *left = next;
        }
        let is_write = operation.contains("Write") || operation == "UpdateItem";
        if let Some(left) = self.left_writes.as_mut().filter(|_| is_write) {
            let Some(next) = left.checked_sub(1) else {
                return Fate::Denied;
            };
            *left = next;
        }
        if operation == "TransactWriteItems" && self.chance(self.rates.conflicts) {
            self.injected.conflicts += 1;
            Fate::Conflict
        } else if operation == "UpdateItem" && self.chance(self.rates.update_conflicts) {
            self.injected.update_conflicts += 1;
            Fate::UpdateConflict
        } else if operation == "BatchWriteItem" && self.chance(self.rates.unprocessed) {
            self.injected.unprocessed += 1;
            Fate::Unprocessed
        } else if self.chance(self.rates.throttles) {
            self.injected.throttles += 1;
            Fate::Throttle
        } else if self.chance(self.rates.lost_answers) {
            self.injected.lost_answers += 1;
            Fate::LostAnswer
        } else {
            Fate::Performed
        }
    }

    /// Returns the earlier answer to the same Query if the index lags this time.
    fn lagging(&mut self, request: &Bytes, answer: (u16, Bytes)) -> (u16, Bytes) {
        let before = self.index_answers.insert(request.clone(), answer.clone());
        match before {
            Some(before) if self.chance(self.rates.index_lag) => {
                self.injected.index_lag += 1;
                // The old answer stays the newest one, so that the index can lag further.
                self.index_answers.insert(request.clone(), before.clone());
                before
            }
            _ => answer,
        }
    }
}

impl Layer for FakeFaults {
    async fn answer(
        self,
        mut request: HttpRequest,
        inner: SharedHttpConnector,
    ) -> Result<HttpResponse, ConnectorError> {
        let operation = wire::operation(&request);
        let body = Bytes::copy_from_slice(request.body().bytes().unwrap_or_default());
        let fate = self.state().fate(&operation);
        let mut unprocessed = None;
        match fate {
            Fate::Conflict => return Ok(conflict(&body)),
            Fate::UpdateConflict => return Ok(Refusal::Single.answer()),
            Fate::Unprocessed => unprocessed = Some(halve(&mut request, &body)),
            Fate::Throttle => return Ok(throttle(&operation)),
            Fate::Denied => return Ok(denial()),
            Fate::Performed | Fate::LostAnswer => {}
        }
        let in_progress = match self.begin(&operation, &body) {
            Ok(in_progress) => in_progress,
            Err(refusal) => return Ok(refusal.answer()),
        };
        let (status, answer) = wire::collected(inner.call(request).await?).await?;
        if let Some(write) = in_progress {
            sleep_until(write.until).await;
        }
        if fate == Fate::LostAnswer {
            // The service has performed the request; the client cannot know that.
            return Err(ConnectorError::io("the answer was lost".into()));
        }
        if let Some(unprocessed) = unprocessed.filter(|_| status == 200) {
            let mut answer = wire::parsed(&answer);
            answer["UnprocessedItems"] = unprocessed;
            return Ok(wire::answer(status, answer.to_string()));
        }
        let (status, answer) = if is_index_query(&operation, &body) {
            self.state().lagging(&body, (status, answer))
        } else {
            (status, answer)
        };
        Ok(wire::answer(status, answer))
    }
}

fn is_index_query(operation: &str, body: &Bytes) -> bool {
    let names_index = || wire::parsed(body).get("IndexName").is_some();
    operation == "Query" && names_index()
}

/// Number of copies of the revision of a group, and of the activation of a package.
const COPIES: u32 = 64;

/// Returns numbers of writes after which a test interrupts a command that changes this number of
/// groups: all of the first and last writes, and some of the copies of revisions between them.
pub fn interruptions(groups: u32) -> impl Iterator<Item = u32> {
    const FIRST: u32 = 8;
    let last = FIRST.max(3 + groups * COPIES);
    let between = (FIRST..last).step_by(29);
    (0..FIRST).chain(between).chain(last..)
}

/// Retries until an answer arrives, as administrators and devices do.
///
/// # Panics
/// If an error is not retryable, or after 100 tries.
pub async fn until_answered<T>(ask: impl AsyncFn() -> Result<T, RecordsError>) -> T {
    for _ in 0..100 {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
    }
    panic!("no answer in 100 tries")
}

fn denial() -> HttpResponse {
    let refusal = json!({
        "__type": "com.amazon.coral.service#AccessDeniedException",
        "Message": "the process has ended",
    });
    wire::answer(400, refusal.to_string())
}

/// Returns the refusal of a transaction whose first item another transaction is writing.
fn conflict(body: &[u8]) -> HttpResponse {
    let items = wire::parsed(body)
        .get("TransactItems")
        .and_then(Value::as_array)
        .map_or(1, Vec::len);
    let mut conflicts = vec![false; items];
    conflicts[0] = true;
    Refusal::Cancelled(conflicts).answer()
}

/// Removes the second half of a batch of writes from a request, and returns it.
///
/// Of a batch with one write, nothing is removed: DynamoDB performs at least one.
fn halve(request: &mut HttpRequest, body: &[u8]) -> Value {
    let mut batch = wire::parsed(body);
    let mut removed = json!({});
    let tables = batch["RequestItems"].as_object_mut();
    for (table, writes) in tables.into_iter().flatten() {
        if let Some(writes) = writes.as_array_mut() {
            let rest = writes.split_off(writes.len().div_ceil(2));
            if !rest.is_empty() {
                removed[table] = Value::Array(rest);
            }
        }
    }
    let body = batch.to_string();
    let headers = request.headers_mut();
    headers.insert("content-length", body.len().to_string());
    // The engine does not compare the signature with the body.
    *request.body_mut() = body.into();
    removed
}

fn throttle(operation: &str) -> HttpResponse {
    // Tables refuse with one code and the request limits of an account with another.
    let code = if operation == "Query" {
        "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
    } else {
        "com.amazon.coral.availability#ThrottlingException"
    };
    let refusal = json!({ "__type": code, "message": "Rate exceeded" });
    wire::answer(400, refusal.to_string())
}
