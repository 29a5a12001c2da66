//! The upper bound of a day's bill in docs/scale-and-cost.md, from the prices and the template.

use packcast_testing::template::default_of;

const PRICES: &str = include_str!("../bench/prices.toml");
const GUIDE: &str = include_str!("../../docs/scale-and-cost.md");
const DEPLOY: &str = include_str!("../../infra/deploy");

const DAY_S: f64 = 86_400.0;
/// Requests per second that a function URL serves for each unit of concurrency.
const REQUESTS_PER_UNIT: f64 = 10.0;
/// Bytes of an answer to a refused request, and of the log's line about a minute of them.
const ANSWER_BYTES: f64 = 400.0;
const LINE_BYTES: f64 = 1024.0;

/// Returns the cost of a quantity in each region, in dollars.
fn cost(price: &str, quantity: f64) -> Vec<f64> {
    let prices: toml::Table = PRICES.parse().unwrap();
    let per = &prices[price]["per"];
    let per = per
        .as_integer()
        .unwrap()
        .to_string()
        .parse::<f64>()
        .unwrap();
    let usd = prices[price]["usd"].as_array().unwrap().iter();
    usd.map(|usd| usd.as_float().unwrap() * quantity / per)
        .collect()
}

/// Returns the cost of a day in which strangers use all of a function's concurrency.
fn day_of_strangers(concurrency: f64) -> Vec<f64> {
    let requests = concurrency * REQUESTS_PER_UNIT * DAY_S;
    let memory_mb: f64 = default_of("MemoryMegabytes").unwrap().parse().unwrap();
    let lines = [
        cost("function_requests", requests),
        cost("function_time", concurrency * DAY_S * memory_mb / 1024.0),
        cost("log", concurrency * DAY_S / 60.0 * LINE_BYTES),
        cost("cdn_requests", requests),
        cost("egress", requests * ANSWER_BYTES),
    ];
    (0..lines[0].len())
        .map(|region| lines.iter().map(|line| line[region]).sum())
        .collect()
}

#[test]
fn the_documented_bound_of_a_day_follows_from_the_prices() {
    assert!(DEPLOY.contains("readonly usual_concurrency=50\n"));
    let day = day_of_strangers(50.0);
    let row = format!("| **{:.2}** | **{:.2}** |", day[0], day[1]);
    assert!(GUIDE.contains(&row), "{row}");
    for (concurrency, digits) in [(1000.0, 0), (10.0, 2)] {
        let day = day_of_strangers(concurrency);
        let row = format!("| {:.digits$} | {:.digits$} |", day[0], day[1]);
        assert!(
            GUIDE.contains(&row.replace("| 1355 | 1528 |", "| 1,355 | 1,528 |")),
            "{row}"
        );
    }
}

#[test]
fn the_documented_cost_of_deployments_follows_from_the_prices() {
    let requests = 50.0 * REQUESTS_PER_UNIT * DAY_S;
    let writes = cost("table_writes", requests * 29.04 / 2.0);
    let words = format!(
        "{:.0} dollars in us-east-1 and {:.0} in eu-central-1",
        writes[0], writes[1]
    );
    let guide: Vec<&str> = GUIDE.split_whitespace().collect();
    assert!(guide.join(" ").contains(&words), "{words}");
}
