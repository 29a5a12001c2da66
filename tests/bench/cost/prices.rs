//! The bill of a month: quantities multiplied by prices from a file.

use std::path::Path;

use packcast_testing::template::TEMPLATE;
use serde::Deserialize;

use crate::month::RequestCounts;

/// A price in each region.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Price {
    usd: Vec<f64>,
    per: f64,
    /// The source of the price, for readers of the file.
    #[serde(rename = "source")]
    _source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prices {
    pub(crate) regions: Vec<String>,
    cdn_requests: Price,
    cdn_function: Price,
    cdn_to_origin: Price,
    egress: Price,
    function_requests: Price,
    function_time: Price,
    table_reads: Price,
    table_writes: Price,
    table_storage: Price,
    table_recovery: Price,
    bucket_writes: Price,
    bucket_reads: Price,
    bucket_storage: Price,
    log: Price,
    log_storage: Price,
    alarms: Price,
}

/// The published objects of a month.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MonthObjects {
    pub(crate) packages: f64,
    pub(crate) fragments: f64,
    pub(crate) fragment_bytes: f64,
    /// Number of documents that a device downloads besides the fragments.
    pub(crate) documents: f64,
}

/// Assumptions about the cloud, which cannot be counted here.
pub(crate) mod assumed {
    /// The function's memory in gigabytes: `MemoryMegabytes` of the template.
    pub(crate) const MEMORY_GB: f64 = 0.25;
    /// Lambda gives a whole processor to 1,769 MB of memory, and a proportional share to less.
    pub(crate) const PROCESSOR_SHARE: f64 = 256.0 / 1769.0;
    /// Duration of a request to DynamoDB in the same region, in seconds: "single-digit milliseconds".
    pub(crate) const TABLE_REQUEST_S: f64 = 0.005;
    /// The function's two log lines for a package on a device, each with the 26 bytes that are billed
    /// besides its text. For other successful requests, neither the function nor Lambda logs anything.
    pub(crate) const LOG_BYTES: f64 = 450.0;
    /// The head of a request: Packcast agents send a signature; the heads of OCS agents are smaller.
    pub(crate) const HEAD_BYTES: f64 = 900.0;
    /// The head of an answer.
    pub(crate) const ANSWER_HEAD_BYTES: f64 = 400.0;
    /// The items of a device in the table: its record, host name, list entry and a membership.
    pub(crate) const DEVICE_BYTES: f64 = 2_500.0;
    /// The items of a result in the table, with the entry in the index.
    pub(crate) const RESULT_BYTES: f64 = 700.0;
    /// Results and packages are kept forever; the results and packages of a year are billed.
    pub(crate) const MONTHS_KEPT: f64 = 12.0;
    /// Number of CDN locations that fetch an object from the bucket.
    pub(crate) const CDN_PLACES: f64 = 13.0;
    /// Manifest, signature and the `info` of one location.
    pub(crate) const DOCUMENTS: f64 = 3.0;
}

/// A line of a bill.
#[derive(Debug)]
pub(crate) struct BillLine {
    pub(crate) name: &'static str,
    pub(crate) quantity: f64,
    pub(crate) unit: &'static str,
    /// The price in dollars in each region.
    pub(crate) usd: Vec<f64>,
}

/// The bill of a month.
#[derive(Debug)]
pub(crate) struct Bill {
    /// Costs that grow with the fleet, except egress.
    pub(crate) lines: Vec<BillLine>,
    pub(crate) egress: BillLine,
    /// The cost of a stack without devices.
    pub(crate) stack: BillLine,
    /// Billed time of the function for one request, in seconds.
    pub(crate) billed_s: f64,
}

impl Prices {
    pub(crate) fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/prices.toml");
        let text = std::fs::read_to_string(path).expect("the prices are in the source");
        toml::from_str(&text).expect("the prices are valid")
    }

    /// Returns the bill for the counts of 1,000 devices, with this processor time for each request.
    pub(crate) fn bill(
        &self,
        asked: &RequestCounts,
        processor_s: f64,
        objects: MonthObjects,
    ) -> Bill {
        let RequestCounts {
            requests,
            deployments,
            ..
        } = *asked;
        let fetched = deployments * (objects.fragments + objects.documents);
        let fetched_bytes = deployments * objects.fragments * objects.fragment_bytes;
        let billed_s = billed_s(asked, processor_s);
        let request_bytes = asked.request_bytes + requests * assumed::HEAD_BYTES;
        let answer_bytes = asked.answer_bytes + (requests + fetched) * assumed::ANSWER_HEAD_BYTES;
        let table_bytes = 1000.0 * assumed::DEVICE_BYTES
            + deployments * assumed::RESULT_BYTES * assumed::MONTHS_KEPT;
        let stored = objects.packages * (objects.fragments + assumed::DOCUMENTS);
        let stored_bytes = objects.packages * objects.fragments * objects.fragment_bytes;
        let log_bytes = deployments * assumed::LOG_BYTES;
        let lines = vec![
            line(
                "CDN: check-ins and reports",
                requests,
                "requests",
                &self.cdn_requests,
            ),
            line(
                "CDN: bytes of requests",
                request_bytes,
                "bytes",
                &self.cdn_to_origin,
            ),
            line("CDN: objects", fetched, "requests", &self.cdn_requests),
            line(
                "CDN: function before objects",
                fetched,
                "requests",
                &self.cdn_function,
            ),
            line(
                "function: requests to its URL",
                requests,
                "requests",
                &self.function_requests,
            ),
            line(
                "function: time",
                requests * billed_s * assumed::MEMORY_GB,
                "GB seconds",
                &self.function_time,
            ),
            line("table: reads", asked.read_units, "units", &self.table_reads),
            line(
                "table: writes",
                asked.write_units,
                "units",
                &self.table_writes,
            ),
            line("table: storage", table_bytes, "bytes", &self.table_storage),
            line(
                "table: point-in-time recovery",
                table_bytes,
                "bytes",
                &self.table_recovery,
            ),
            line("bucket: writes", stored, "requests", &self.bucket_writes),
            line(
                "bucket: reads",
                stored * assumed::CDN_PLACES,
                "requests",
                &self.bucket_reads,
            ),
            line(
                "bucket: storage",
                stored_bytes * assumed::MONTHS_KEPT,
                "bytes",
                &self.bucket_storage,
            ),
            line("log", log_bytes, "bytes", &self.log),
            line(
                "log: kept for 30 days",
                log_bytes,
                "bytes",
                &self.log_storage,
            ),
        ];
        Bill {
            lines,
            egress: line(
                "egress",
                fetched_bytes + answer_bytes,
                "bytes",
                &self.egress,
            ),
            stack: line("alarms", alarms(), "alarms", &self.alarms),
            billed_s,
        }
    }
}

impl Bill {
    /// Returns the dollars without egress and with it, in each region.
    pub(crate) fn totals(&self) -> (Vec<f64>, Vec<f64>) {
        let regions = 0..self.egress.usd.len();
        let without: Vec<f64> = regions
            .map(|region| self.lines.iter().map(|line| line.usd[region]).sum())
            .collect();
        let with = without
            .iter()
            .zip(&self.egress.usd)
            .map(|(without, egress)| without + egress)
            .collect();
        (without, with)
    }
}

fn line(name: &'static str, quantity: f64, unit: &'static str, price: &Price) -> BillLine {
    let usd = price.usd.iter().map(|usd| quantity * usd / price.per);
    BillLine {
        name,
        quantity,
        unit,
        usd: usd.collect(),
    }
}

/// Returns the number of alarms in the template.
fn alarms() -> f64 {
    let alarms = TEMPLATE.matches("Type: AWS::CloudWatch::Alarm").count();
    u32::try_from(alarms).map_or(f64::INFINITY, f64::from)
}

/// Returns the billed time of a request, rounded up to a millisecond.
///
/// It is the measured processor time, with devices and table, on the function's share of a
/// processor, and the time of waiting for the table.
fn billed_s(asked: &RequestCounts, processor_s: f64) -> f64 {
    let processor = processor_s / assumed::PROCESSOR_SHARE;
    let waits = asked.operations / asked.requests * assumed::TABLE_REQUEST_S;
    ((processor + waits) * 1000.0).ceil() / 1000.0
}
