# Tools that tests/run had to install lie beside the build.
export PATH := justfile_directory() / "target/tools/bin" + ":" + env("PATH")

# Lists the recipes.
default:
    @just --list

# Checks everything but the tests: form, lints, documentation, dependencies.
check:
    ./tests/run setup fmt circles language clippy rustdoc deny fences

# Runs the tests; arguments go to nextest, such as `-p packcast-agent` or part of a name.
test *ARGS="--workspace":
    cargo nextest run {{ ARGS }}

# Tells the stories of the stock OCS agent that Debian has, and how long each took beside the pauses that it was told to make.
ocs-agent:
    @rm -f target/ocs-agent-times
    CI=true PACKCAST_OCS_TIMES={{ justfile_directory() }}/target/ocs-agent-times \
        cargo nextest run -p packcast-tests --test-threads 8 ocs_agent ocs_commands
    @sort -k 9 target/ocs-agent-times

# Runs 10,000 devices against a service at its worst, and compares the records with the truth; takes `--devices N` and `--seed N`.
fleet *ARGS:
    cargo bench --quiet -p packcast-tests --bench fleet -- {{ ARGS }}

# Kills the agent at each of its effects on files and the network, starts it again, and looks what became of the device; takes `--at POINT`, `--then POINT`, `--one-in N`, `--threads N`.
kill-matrix *ARGS:
    cargo test --quiet -p packcast-tests --bench kill-matrix -- {{ ARGS }}

# Measures check-ins of stock agents, beside the stock server where `tests/bench/ocs-server install` has installed it; takes `--devices N`, `--seconds N`, `--smoke`.
bench-check-in *ARGS:
    cargo bench -p packcast-tests --bench check-in -- {{ ARGS }}

# Lets the agent download 1 GiB beside curl, and times a small package; takes `--mib N`, `--rounds N`, `--smoke`.
bench-agent *ARGS:
    cargo bench --quiet -p packcast-tests --bench agent -- {{ ARGS }}

# Tries what an attacker would, without a signing key: on objects, table, function, and all of them at once.
attacks *ARGS:
    cargo bench --quiet -p packcast-tests --bench attacks -- {{ ARGS }}

# Counts what a fleet asks of the cloud in a month, and prices it; takes `--devices N`, `--check-ins-per-hour N`, `--packages N`, `--fragments N`, `--ocs`.
cost *ARGS:
    cargo bench --quiet -p packcast-tests --bench cost -- {{ ARGS }}

# Starts the function as it is shipped and a hello-world on the same runtime, in turn, and compares them.
cold-start:
    infra/cargo-lambda lambda build --profile function --compiler cargo --skip-target-check --quiet \
        --package packcast-check-in --package packcast-cold-start
    "${CARGO_TARGET_DIR:-target}/lambda/packcast-cold-start/bootstrap"

# Builds what is shipped for other machines, and runs it; takes `lambda`, `agent-arm64`, `agent-windows`.
cross *ARGS:
    infra/cross {{ ARGS }}

# Builds the agent for Windows, and has it deploy packages under Wine, a line for each kind.
windows:
    infra/cross agent-windows

# Tells the story of a deployment on engines of this machine (localstack, ministack), step by step.
cloud *ENGINES:
    ./tests/cloud {{ ENGINES }}

# Shows the whole loop on this machine; takes an archive of yours, too.
demo *ARGS:
    cargo run --release -- demo {{ ARGS }}

# Writes protocol/schemas anew from the types; read the difference before you commit it.
schemas:
    UPDATE_SCHEMAS=1 cargo test --quiet -p packcast-protocol --test it schemas
    git --no-pager diff --stat -- protocol/schemas

# Formats the code.
fmt:
    cargo fmt --all
