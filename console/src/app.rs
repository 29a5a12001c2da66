//! The state of a console, its routes, and the gate before all of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use http::{Method, StatusCode};
use packcast_protocol::UnixTime;
use packcast_publisher::Target;
use tokio::sync::watch;

use crate::access::{Address, SIGN_IN, Source, cookie};
use crate::answer;
use crate::assets;
use crate::command::Commands;
use crate::fleet::Fleet;
use crate::live;
use crate::page::{
    device, devices, group, groups, history, now, package, packages, rollout, rollouts, sign_in,
};
use crate::session::{Door, Ended};
use crate::token::Token;
use crate::visit::SignedIn;
use crate::{Clock, ConsoleOptions};

/// The maximum length of a body in bytes. Forms are short.
const MAX_BODY: usize = 16 << 10;

/// The time for the head of an answer. A check of the whole fleet takes longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const CHECK_TIMEOUT: Duration = Duration::from_secs(600);

/// The path that begins a check of the whole fleet.
pub(crate) const CHECK: &str = "/check";

/// The state of a console. Clones share it.
#[derive(Clone)]
pub(crate) struct App(Arc<AppState>);

struct AppState {
    target: Target,
    address: Address,
    clock: Clock,
    commands: Commands,
    door: Mutex<Door>,
    fleet: Fleet,
    /// `Some` once the console has ended.
    ended: watch::Sender<Option<Ended>>,
}

impl App {
    pub(crate) fn new(
        target: Target,
        address: Address,
        token: Token,
        options: ConsoleOptions,
    ) -> Self {
        let since = options.clock.now();
        Self(Arc::new(AppState {
            target,
            address,
            clock: options.clock,
            commands: Commands::new(options.target_options),
            door: Mutex::new(Door::Closed { token, since }),
            fleet: Fleet::default(),
            ended: watch::Sender::new(None),
        }))
    }

    pub(crate) fn target(&self) -> &Target {
        &self.0.target
    }

    pub(crate) fn address(&self) -> &Address {
        &self.0.address
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.0.clock.now()
    }

    pub(crate) fn commands(&self) -> &Commands {
        &self.0.commands
    }

    pub(crate) fn fleet(&self) -> &Fleet {
        &self.0.fleet
    }

    pub(crate) fn door(&self) -> MutexGuard<'_, Door> {
        self.0.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the console.
    pub(crate) fn end(&self, ended: Ended) {
        self.0.ended.send_if_modified(|before| {
            let is_first = before.is_none();
            before.get_or_insert(ended);
            is_first
        });
    }

    /// Returns the end of the console, to wait for it.
    pub(crate) fn ended(&self) -> watch::Receiver<Option<Ended>> {
        self.0.ended.subscribe()
    }

    /// Ends the console if nobody has used it for too long.
    pub(crate) fn end_if_idle(&self) {
        let ended = self.door().end_if_idle(self.now());
        if let Some(ended) = ended {
            self.end(ended);
        }
    }

    /// Returns the routes behind their gate.
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/", get(now::page))
            .route(CHECK, post(now::check))
            .route("/packages", get(packages::page))
            .route("/packages/{package}", get(package::page))
            .route("/packages/{package}/devices", get(package::devices))
            .route("/packages/{package}/failures", get(package::failures))
            .route("/packages/{package}/versions", get(package::versions))
            .route("/packages/{package}/live", get(live::package))
            .route("/groups", get(groups::page))
            .route("/groups/{group}", get(group::page))
            .route("/groups/{group}/devices", get(group::devices))
            .route("/devices", get(devices::page))
            .route("/devices/{device}", get(device::page))
            .route("/devices/{device}/why/{package}", get(device::why))
            .route("/rollouts", get(rollouts::page))
            .route("/rollouts/{package}", get(rollout::page))
            .route("/rollouts/{package}/live", get(live::rollout))
            .route("/history", get(history::page))
            .route("/end", post(sign_in::end))
            .route(SIGN_IN, get(sign_in::page).post(sign_in::enter))
            .route(assets::STYLE, get(assets::style))
            .route(assets::SCRIPT, get(assets::script))
            .fallback(sign_in::unknown)
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .layer(middleware::from_fn_with_state(self.clone(), gate))
            .with_state(self)
    }
}

/// Admits a request to its route, or answers it here. Every route is behind this gate.
async fn gate(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let source = match app.address().admit(&head) {
        Ok(source) => source,
        Err(refusal) => return answer::hardened(answer::refusal(refusal)),
    };
    let is_public = head.uri.path() == SIGN_IN || assets::is_asset(head.uri.path());
    // Other pages may link to the console, but their links do not carry the session.
    let session = match source {
        Source::Own => cookie(&head.headers),
        Source::Link => None,
    };
    let now = app.now();
    let form = session.and_then(|cookie| app.door().enter(cookie, now));
    app.end_if_idle();
    match form {
        Some(form) => drop(head.extensions.insert(SignedIn { form })),
        None if is_public => {}
        None if head.method == Method::GET => return answer::hardened(sign_in::closed()),
        None => return answer::hardened(answer::status(StatusCode::FORBIDDEN)),
    }
    let limit = if head.uri.path() == CHECK {
        CHECK_TIMEOUT
    } else {
        ANSWER_TIMEOUT
    };
    let answered = next.run(Request::from_parts(head, body));
    let answered = tokio::time::timeout(limit, answered).await;
    answer::hardened(answered.unwrap_or_else(|_| answer::status(StatusCode::GATEWAY_TIMEOUT)))
}
