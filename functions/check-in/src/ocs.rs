//! Requests of OCS agents: XML in a compressed envelope.

mod download;
mod inventory;
mod prolog;
mod sealed;

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{Request, Response, StatusCode};
use packcast_protocol::ocs::envelope::{self, Coding, EnvelopeError};
use packcast_protocol::ocs::reply::DOWNLOAD_REPLY;
use packcast_protocol::ocs::request::{self, Query, RequestError};
use packcast_protocol::{Excerpt, UnixTime, with_causes};

pub(crate) use self::sealed::SealedReplies;
use crate::device_access::DeviceError;
use crate::refusals::RefusalKind;
use crate::{CheckInFunction, answer};

/// Answers one request of an OCS agent, in the coding of the request.
pub(crate) async fn answer(
    function: &CheckInFunction,
    request: &Request<Bytes>,
    now: UnixTime,
) -> Response<Bytes> {
    let (coding, parsed) = match read(request.body()) {
        Ok(read) => read,
        Err(refusal) => return refusal.response(function),
    };
    let agent = user_agent(request);
    let agent = agent.as_ref().map(Excerpt::as_str);
    let reply = match parsed.query {
        Query::Prolog => prolog::reply(function, parsed.device, agent, now)
            .await
            .map(|reply| reply.to_xml().into_bytes()),
        Query::Download { package, code } => {
            download::record(function, parsed.device, package, code, now)
                .await
                .map(|()| DOWNLOAD_REPLY.to_vec())
        }
        Query::Inventory(inventory) => {
            inventory::receive(function, parsed.device, &inventory, agent, now)
                .await
                .map(<[u8]>::to_vec)
        }
        Query::Other(query) => {
            let query = Excerpt::within(&query, 40);
            tracing::info!(device = %parsed.device, %query, "ignored a query that needs no reply");
            Ok(Vec::new())
        }
    };
    match reply {
        // An empty body stays empty: there is nothing to inflate (protocol reference §0 rule 5).
        Ok(body) if body.is_empty() => answer::compressed(Bytes::new()),
        Ok(body) => answer::compressed(function.sealed.seal(coding, body)),
        // The replies to PROLOG and INVENTORY of an excluded device are created above.
        Err(DeviceError::Excluded(excluded)) => excluded.download_response(),
        Err(DeviceError::OverBudget) => answer::ocs_unavailable(),
        Err(DeviceError::Records(error)) => {
            answer::log_records_error(&error);
            answer::ocs_unavailable()
        }
    }
}

/// Errors in the body of an OCS agent's request.
#[derive(Debug, thiserror::Error)]
enum OcsRefusal {
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl OcsRefusal {
    fn response(&self, function: &CheckInFunction) -> Response<Bytes> {
        let reason = with_causes(self);
        let status = match self {
            Self::Envelope(error) if error.is_too_large() => {
                function.refusals().count(RefusalKind::Size);
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Envelope(_) | Self::Request(_) => {
                function.refusals().count_content(Excerpt::of(&reason));
                StatusCode::BAD_REQUEST
            }
        };
        answer::ocs_failure(status, &reason)
    }
}

fn read(body: &[u8]) -> Result<(Coding, request::OcsRequest), OcsRefusal> {
    let (coding, content) = envelope::open(body)?;
    Ok((coding, request::OcsRequest::parse(&content)?))
}

fn user_agent(request: &Request<Bytes>) -> Option<Excerpt> {
    let agent = request.headers().get(USER_AGENT)?.to_str().ok()?;
    // The value is stored in the device's record. The limit keeps a hostile agent from filling the
    // record.
    Some(Excerpt::within(agent, 64))
}
