//! Requests at fixed times.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use rustls::ClientConfig;
use tokio::time::{Instant, sleep_until};

use super::LoadPlan;
use super::connection::Connection;
use super::devices::Devices;
use super::sample::LoadSample;

/// The answer to a request, and the time from when it should have been sent to its end.
struct Answered {
    period: usize,
    status: Option<StatusCode>,
    latency: Duration,
}

/// Lets the devices check in, and returns the samples of the periods.
pub(super) async fn drive(
    plan: &LoadPlan,
    devices: &Devices,
    tls: &Arc<ClientConfig>,
    address: SocketAddr,
    process: u32,
) -> Vec<LoadSample> {
    let connections = (0..plan.connections).map(|_| Connection::open(tls, address));
    let connections = join_all(connections).await;
    let begun = Instant::now();
    let answered = connections
        .into_iter()
        .zip(0..)
        .map(|(connection, number)| requests(plan, devices, connection, number, begun));
    let (answered, memory) = tokio::join!(join_all(answered), memory(plan, process, begun));
    let mut samples = samples(plan, &memory);
    for answer in answered.into_iter().flatten() {
        note(&mut samples[answer.period], &answer);
    }
    samples
}

/// Sends the requests of one connection: each has its own time.
async fn requests(
    plan: &LoadPlan,
    devices: &Devices,
    mut connection: Connection,
    number: u32,
    begun: Instant,
) -> Vec<Answered> {
    let mut answered = Vec::new();
    let pause = Duration::from_secs(1) / plan.rate;
    let period = plan.duration / plan.periods;
    for request in (number..).step_by(plan.connections as usize) {
        let since = pause * request;
        if since >= plan.duration {
            break;
        }
        sleep_until(begun + since).await;
        let sent = connection.send(devices.check_in(request as usize)).await;
        answered.push(Answered {
            period: usize::try_from(since.as_nanos() / period.as_nanos()).unwrap_or(usize::MAX),
            status: sent.as_ref().map(|(status, _)| *status),
            latency: (begun + since).elapsed(),
        });
        if sent.is_none() {
            break;
        }
    }
    answered
}

/// Returns the resident memory of a process at the end of each period, in KiB.
async fn memory(plan: &LoadPlan, process: u32, begun: Instant) -> Vec<u64> {
    let mut memory = Vec::new();
    for period in 1..=plan.periods {
        sleep_until(begun + plan.duration / plan.periods * period).await;
        memory.push(resident_kib(process));
    }
    memory
}

fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse().ok())
        .expect("the format of proc(5)")
}

fn samples(plan: &LoadPlan, memory: &[u64]) -> Vec<LoadSample> {
    let duration = plan.duration / plan.periods;
    let sample = |(period, memory_kib): (u32, &u64)| LoadSample {
        from: Some(duration * period),
        duration,
        memory_kib: *memory_kib,
        ..LoadSample::default()
    };
    (0..).zip(memory).map(sample).collect()
}

fn note(sample: &mut LoadSample, answer: &Answered) {
    match answer.status {
        Some(StatusCode::OK) => {
            let latency = u32::try_from(answer.latency.as_micros());
            sample.latencies_us.push(latency.unwrap_or(u32::MAX));
        }
        Some(StatusCode::SERVICE_UNAVAILABLE) => sample.unavailable += 1,
        _ => sample.failed += 1,
    }
}
