# The folder for tools that tests/run has installed.
export PATH := justfile_directory() / "target/tools/bin" + ":" + env("PATH")

# Lists the recipes.
default:
    @just --list

# Runs the checks without the tests: formatting, imports, language, lints, documentation, dependencies.
check:
    ./tests/run setup fmt circles language clippy rustdoc deny fences

# Runs the tests; passes arguments to nextest, such as `-p packcast-agent` or a part of a test's name.
test *ARGS="--workspace":
    cargo nextest run {{ ARGS }}

# Runs the tests with Debian's OCS agent, and prints their durations and the agent's configured pauses.
ocs-agent:
    @rm -f target/ocs-agent-times
    CI=true PACKCAST_OCS_TIMES={{ justfile_directory() }}/target/ocs-agent-times \
        cargo nextest run -p packcast-tests --test-threads 8 ocs_agent ocs_commands
    @sort -k 9 target/ocs-agent-times

# Simulates 10,000 devices with faults in the service, and compares the records with the expected results; takes `--devices N`, `--seed N`.
fleet *ARGS:
    cargo bench --quiet -p packcast-tests --bench fleet -- {{ ARGS }}

# Kills the agent at each effect on files and the network, restarts it, and checks the state of the device; takes `--at POINT`, `--then POINT`, `--one-in N`, `--threads N`.
kill-matrix *ARGS:
    cargo test --quiet -p packcast-tests --bench kill-matrix -- {{ ARGS }}

# Measures check-ins of OCS agents, and compares them with the OCS server if `tests/bench/ocs-server install` has installed it; takes `--devices N`, `--seconds N`, `--smoke`.
bench-check-in *ARGS:
    cargo bench -p packcast-tests --bench check-in -- {{ ARGS }}

# Measures a download of 1 GiB by the agent and by curl, and the deployment of a small package; takes `--mib N`, `--rounds N`, `--smoke`.
bench-agent *ARGS:
    cargo bench --quiet -p packcast-tests --bench agent -- {{ ARGS }}

# Attacks objects, table and function without a signing key, one at a time and all at once.
attacks *ARGS:
    cargo bench --quiet -p packcast-tests --bench attacks -- {{ ARGS }}

# Counts the requests of a fleet in a month, and computes their cost on AWS; takes `--devices N`, `--check-ins-per-hour N`, `--packages N`, `--fragments N`, `--stock`.
cost *ARGS:
    cargo bench --quiet -p packcast-tests --bench cost -- {{ ARGS }}

# Compares the start time of the shipped function with a hello-world function on the same runtime.
cold-start:
    infra/cargo-lambda lambda build --profile function --compiler cargo --skip-target-check --quiet \
        --package packcast-check-in --package packcast-cold-start
    "${CARGO_TARGET_DIR:-target}/lambda/packcast-cold-start/bootstrap"

# Builds the shipped programs for other platforms, and tests them; takes `lambda`, `agent-arm64`, `agent-windows`.
cross *ARGS:
    infra/cross {{ ARGS }}

# Builds the agent for Windows, and tests the deployment of packages under Wine.
windows:
    infra/cross agent-windows

# Tests a deployment on engines of this machine; takes `localstack`, `ministack`.
cloud *ENGINES:
    ./tests/cloud {{ ENGINES }}

# Demonstrates publish, deploy and report on this machine; optionally takes an archive.
demo *ARGS:
    cargo run --release -- demo {{ ARGS }}

# Generates protocol/schemas from the types; review the changes before you commit them.
schemas:
    UPDATE_SCHEMAS=1 cargo test --quiet -p packcast-protocol --test it schemas
    git --no-pager diff --stat -- protocol/schemas

# Formats the code.
fmt:
    cargo fmt --all
