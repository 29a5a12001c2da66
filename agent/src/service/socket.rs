//! The socket of the service, on which root asks for a check-in or the status.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::{Semaphore, broadcast};
use tokio::time::timeout;

use super::message::{MAX_REQUEST_BYTES, Reply, Request, SIGN_OF_LIFE_S};
use super::shared::Shared;
use crate::platform::{LocalListener, LocalStream};

/// The time in which a client has to send its request, and to accept each reply.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of clients at the same time. Further clients are disconnected.
const MAX_CLIENTS: usize = 8;

/// The pause after an error of the listener, such as too many open files.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// Answers clients forever.
pub(super) async fn serve(listener: LocalListener, shared: Arc<Shared>) {
    let clients = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%error, "refused a client of the local socket");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&clients).try_acquire_owned() else {
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &shared).await {
                tracing::debug!(%error, "lost a client of the local socket");
            }
            drop(permit);
        });
    }
}

async fn answer(stream: LocalStream, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let request = timeout(CLIENT_TIMEOUT, read_request(&mut stream)).await??;
    match request {
        Err(error) => {
            let detail = format!("the service does not know the request: {error}");
            let exit_code = 2;
            send(&mut stream, &Reply::Failed { detail, exit_code }).await
        }
        Ok(Request::Status) => {
            let activity = shared.activity();
            send(&mut stream, &Reply::Activity { activity }).await
        }
        Ok(Request::Reload) => {
            let reply = match shared.reload() {
                Ok(()) => Reply::Done,
                Err(error) => Reply::Failed {
                    detail: packcast_protocol::with_causes(&error),
                    exit_code: error.exit_code(),
                },
            };
            send(&mut stream, &reply).await
        }
        Ok(Request::CheckIn) => check_in(&mut stream, shared).await,
    }
}

/// Reads a line. Returns the error of a line that is no request.
async fn read_request(
    stream: &mut BufReader<LocalStream>,
) -> io::Result<Result<Request, serde_json::Error>> {
    let mut line = Vec::new();
    stream
        .take(MAX_REQUEST_BYTES)
        .read_until(b'\n', &mut line)
        .await?;
    Ok(serde_json::from_slice(&line))
}

/// Asks for a round, and sends its events until its end.
async fn check_in(stream: &mut BufReader<LocalStream>, shared: &Shared) -> io::Result<()> {
    // Before the request, so that no event is missed.
    let mut events = shared.events();
    let mut asked = shared.ask_for_round();
    if asked.has_to_wait {
        let activity = shared.activity();
        send(stream, &Reply::Waiting { activity }).await?;
    }
    loop {
        let reply = tokio::select! {
            biased;
            event = events.recv() => match event {
                Ok(event) => Reply::Event { event },
                // A slow client misses events, but gets the result.
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
            result = asked.ended() => return send(stream, &result).await,
            () = tokio::time::sleep(Duration::from_secs(SIGN_OF_LIFE_S)) => Reply::Alive,
        };
        send(stream, &reply).await?;
    }
}

async fn send(stream: &mut BufReader<LocalStream>, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    timeout(CLIENT_TIMEOUT, stream.get_mut().write_all(&line)).await?
}
