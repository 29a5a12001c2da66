//! Results without an accepted report, in batches that fit into a check-in.

use packcast_protocol::api::{MAX_REPORTS, MAX_REQUEST_BYTES, Report};

/// The room for results in a check-in, in bytes of JSON.
const MAX_BYTES: usize = MAX_REQUEST_BYTES / 2;

/// Takes results from the front while there is room, and always the first.
///
/// The rest goes with a later check-in. The size is that of the JSON, where a control character
/// takes six bytes.
pub(crate) fn batch(reports: impl IntoIterator<Item = Report>) -> Vec<Report> {
    let mut bytes = 0;
    let mut taken = Vec::new();
    for report in reports.into_iter().take(MAX_REPORTS) {
        bytes += serde_json::to_vec(&report).map_or(0, |json| json.len());
        // The first result always goes, so that a single large result cannot block the queue.
        if bytes > MAX_BYTES && !taken.is_empty() {
            break;
        }
        taken.push(report);
    }
    taken
}

/// Removes the programs' output, for a server with a smaller size limit.
pub(crate) fn without_output(mut reports: Vec<Report>) -> Vec<Report> {
    for report in &mut reports {
        report.output_tail = None;
    }
    reports
}

#[cfg(test)]
mod tests {
    use packcast_protocol::api::{BoundedText, TAIL_BYTES};
    use packcast_protocol::state::exchange::UsedMandates;
    use packcast_protocol::{PackageId, ResultCode, UnixTime};

    use super::*;

    fn reports(output: &str) -> impl Iterator<Item = Report> {
        let tail = Some(BoundedText::tail(output));
        (0..100).map(move |n| Report {
            id: PackageId::try_from(1_795_000_000 + n).unwrap(),
            attempt: 1,
            code: ResultCode::Exited(0),
            detail: None,
            output_tail: tail.clone(),
            finished: UnixTime(1),
            boot: None,
            mandates: UsedMandates::default(),
        })
    }

    #[test]
    fn a_batch_leaves_room_in_the_request() {
        assert_eq!(batch(reports("done")).len(), MAX_REPORTS);
        let taken = batch(reports(&"\0".repeat(TAIL_BYTES)));
        assert!((2..MAX_REPORTS).contains(&taken.len()), "{}", taken.len());
        assert!(serde_json::to_vec(&taken).unwrap().len() <= MAX_BYTES + MAX_REPORTS);
    }
}
