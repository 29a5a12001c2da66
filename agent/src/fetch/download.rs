//! Downloads in progress: shared connections, rate limit and time limits.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tokio::time::{Instant, timeout};

use crate::fetch::location_failure::LocationFailure;
use crate::fetch::rate::{LOWEST_RATE, Rate, Throttle};
use packcast_https::TransportError;

/// The time limit of a whole document.
const DOCUMENT_TIMEOUT: Duration = Duration::from_mins(5);

/// The total time for which a location may be slower than [`LOWEST_RATE`].
const PATIENCE: Duration = Duration::from_secs(30);

/// The connections of all downloads, and their common rate limit.
#[derive(Debug)]
pub(crate) struct Downloads {
    http: Client,
    throttle: Throttle,
}

/// A file whose first bytes have arrived.
#[derive(Debug)]
pub(crate) struct Download<'a> {
    response: Response,
    throttle: &'a Throttle,
    arrived: u64,
    /// The time spent waiting for the location, without the waits of the rate limit.
    waited: Duration,
}

impl Downloads {
    pub(crate) fn new(http: Client, rate: Option<Rate>) -> Self {
        Self {
            http,
            throttle: Throttle::new(rate),
        }
    }

    /// Begins to fetch a file of any size.
    pub(crate) async fn begin(&self, url: &str) -> Result<Download<'_>, LocationFailure> {
        let response = answer(self.http.get(url)).await?;
        Ok(Download::of(response, &self.throttle))
    }

    /// Fetches a file of at most `limit` bytes.
    pub(crate) async fn document(
        &self,
        url: &str,
        limit: usize,
    ) -> Result<Vec<u8>, LocationFailure> {
        let mut response = answer(self.http.get(url).timeout(DOCUMENT_TIMEOUT)).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport_error)? {
            if bytes.len() + chunk.len() > limit {
                return Err(LocationFailure::TooLong {
                    limit: limit as u64,
                });
            }
            bytes.extend_from_slice(&chunk);
        }
        self.throttle.pay(bytes.len()).await;
        Ok(bytes)
    }
}

async fn answer(request: RequestBuilder) -> Result<Response, LocationFailure> {
    let response = request.send().await.map_err(transport_error)?;
    let status = response.status();
    match status {
        StatusCode::OK => Ok(response),
        StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => {
            Err(LocationFailure::Absent {
                status: status.as_u16(),
            })
        }
        _ => Err(LocationFailure::Status { status }),
    }
}

fn transport_error(error: reqwest::Error) -> LocationFailure {
    LocationFailure::Transport(TransportError::of(&error.without_url()))
}

impl<'a> Download<'a> {
    const fn of(response: Response, throttle: &'a Throttle) -> Self {
        Self {
            response,
            throttle,
            arrived: 0,
            waited: Duration::ZERO,
        }
    }

    /// Waits for the next bytes. Returns `None` at the end of the file.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, LocationFailure> {
        let patience = patience(self.arrived).saturating_sub(self.waited);
        let asked = Instant::now();
        let chunk = timeout(patience, self.response.chunk()).await;
        self.waited += asked.elapsed();
        let chunk = chunk
            .map_err(|_| self.too_slow())?
            .map_err(transport_error)?;
        if let Some(chunk) = &chunk {
            self.arrived += chunk.len() as u64;
            // Paid after the wait was measured, so that the rate limit is not blamed on the
            // location.
            self.throttle.pay(chunk.len()).await;
        }
        Ok(chunk)
    }

    fn too_slow(&self) -> LocationFailure {
        LocationFailure::TooSlow {
            arrived: self.arrived,
            seconds: self.waited.as_secs(),
        }
    }
}

/// Returns the total time to wait for a location that has sent this many bytes.
const fn patience(arrived: u64) -> Duration {
    PATIENCE.saturating_add(Duration::from_secs(arrived / LOWEST_RATE))
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};
    use reqwest::Body;

    use super::*;

    /// Downloads chunks of this size at this interval, and returns the number of chunks.
    async fn trickle(
        bytes: usize,
        every: Duration,
        rate: Option<&str>,
    ) -> (u32, Option<LocationFailure>) {
        let chunks = stream::iter(0..200).then(move |_| async move {
            tokio::time::sleep(every).await;
            Ok::<_, std::io::Error>(vec![0; bytes])
        });
        let body = Body::wrap_stream(Box::pin(chunks));
        let rate = rate.map(|rate| rate.to_owned().try_into().unwrap());
        let throttle = Throttle::new(rate);
        let mut download = Download::of(http::Response::new(body).into(), &throttle);
        let mut count = 0;
        loop {
            match download.chunk().await {
                Ok(Some(_)) => count += 1,
                Ok(None) => return (count, None),
                Err(error) => return (count, Some(error)),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalling_location_is_given_up() {
        let (count, error) = trickle(1, Duration::from_secs(20), None).await;
        let too_slow = LocationFailure::TooSlow {
            arrived: 1,
            seconds: 30,
        };
        assert_eq!((count, error), (1, Some(too_slow)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_location_is_waited_for() {
        let ended = trickle(11_000, Duration::from_secs(20), None).await;
        assert_eq!(ended, (200, None));
    }

    #[tokio::test(start_paused = true)]
    async fn waits_of_the_rate_limit_do_not_count_against_the_location() {
        let ended = trickle(2048, Duration::from_millis(1), Some("1KiB/s")).await;
        assert_eq!(ended, (200, None));
    }
}
