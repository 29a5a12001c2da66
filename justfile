# Use the tools that tests/run has installed.
export PATH := justfile_directory() / "target/tools/bin" + ":" + env("PATH")

# Lists the recipes.
default:
    @just --list

# Checks everything except the tests: formatting, lints, documentation, dependencies.
check:
    ./tests/run setup fmt circles language clippy rustdoc deny fences

# Runs the tests; passes arguments to nextest, such as `-p packcast-agent` or a part of a test's name.
test *ARGS="--workspace":
    cargo nextest run {{ ARGS }}

# Tests deployments by Debian's OCS agent, and compares their durations with the announced pauses.
ocs-agent:
    @rm -f target/ocs-agent-times
    CI=true PACKCAST_OCS_TIMES={{ justfile_directory() }}/target/ocs-agent-times \
        cargo nextest run -p packcast-tests --test-threads 8 ocs_agent ocs_commands
    @sort -k 9 target/ocs-agent-times

# Runs 10,000 devices against a service with many faults and conflicts, and compares the records with a model; takes `--devices N`, `--seed N`, `--without-conflicts`.
fleet *ARGS:
    cargo bench --quiet -p packcast-tests --bench fleet -- {{ ARGS }}

# Kills the agent at each of its effects on files and the network, and commands of the publisher at each of their writes, restarts them, and checks the final state; takes `--only SUBJECT`, `--self-update`, `--at POINT`, `--then POINT`, `--one-in N`, `--threads N`.
kill-matrix *ARGS:
    cargo test --quiet -p packcast-tests --bench kill-matrix -- {{ ARGS }}

# The figures of the last run, as values and as plots.
plots := justfile_directory() / "target/bench/plots"

# Prints the tables of all benchmarks that compare or count, in about half an hour; `--smoke` only shows that they work. A missing program of another side is skipped.
bench SMOKE="": (bench-publish SMOKE) (bench-upload SMOKE) (bench-agent SMOKE) (bench-check-in SMOKE) (count-check-in SMOKE) (bench-scale SMOKE) (load (if SMOKE == "" { "--seconds=60" } else { SMOKE }))

# Draws the plots of docs/plots again, after it has copied the values of the last runs; takes another folder of values.
bench-plots FROM=plots:
    cargo bench --quiet -p packcast-tests --bench plots -- {{ FROM }} {{ justfile_directory() }}/docs/plots

# Publishes archives of 1 GiB on disk and in memory, beside `md5sum` and beside the package builder of the OCS console; takes `--mib N`, `--rounds N`, `--program FILE`, `--smoke`.
bench-publish *ARGS:
    mkdir -p target/bench
    TMPDIR="$PWD/target/bench" cargo bench --quiet -p packcast-tests --bench publish -- --plot {{ plots }} {{ ARGS }}
    TMPDIR=/dev/shm cargo bench --quiet -p packcast-tests --bench publish -- --plot {{ plots }} {{ ARGS }}

# Uploads an archive of 1 GiB to s3s-fs, beside `rclone` and `aws`; takes `--mib N`, `--rounds N`, `--engine FILE`, `--program FILE`, `--smoke`.
bench-upload *ARGS:
    cargo bench --quiet -p packcast-tests --bench upload -- --plot {{ plots }} {{ ARGS }}

# Compares the agent's download of 1 GiB with curl's, times a small package, and measures memory and wake-ups of the shipped agent when it is idle; takes `--mib N`, `--rounds N`, `--idle-s N`, `--only-idle`, `--program FILE`, `--smoke`.
bench-agent *ARGS:
    cargo build --quiet --profile dist -p packcast-agent
    cargo bench --quiet -p packcast-tests --bench agent -- --plot {{ plots }} --agent "${CARGO_TARGET_DIR:-target}/dist/packcast-agent" {{ ARGS }}

# Measures check-ins of OCS agents, and compares an OCS server if `tests/bench/ocs-server install` has installed one; takes `--devices N`, `--seconds N`, `--rounds N`, `--program FILE`, `--smoke`.
bench-check-in *ARGS:
    cargo bench --quiet -p packcast-tests --bench check-in -- --plot {{ plots }} {{ ARGS }}

# Counts instructions, allocations and table calls of one check-in, and instructions of TLS, with valgrind; takes `--keep FOLDER`, `--smoke`.
count-check-in *ARGS:
    cargo bench --quiet -p packcast-tests --bench check-in-counts -- --plot {{ plots }} {{ ARGS }}

# Prints the functions in which a check-in without news spends its instructions: PROLOG and JSON with ten open tasks, and TLS.
profile-check-in:
    rm -rf target/bench/callgrind
    cargo bench --quiet -p packcast-tests --bench check-in-counts -- --keep "$PWD/target/bench/callgrind"
    for file in prolog-10-whole json-10-whole prolog-10-engine tls-handshake tls-request; do \
        echo "== $file"; \
        callgrind_annotate --auto=no --threshold=80 "target/bench/callgrind/$file.callgrind" | sed -n '/file:function/,$p' | head -40; \
    done

# Prints the read and write units of check-ins, with more and more finished packages, packages and devices; takes `--devices N`, `--smoke`.
bench-scale *ARGS:
    cargo bench --quiet -p packcast-tests --bench scale -- --plot {{ plots }} {{ ARGS }}

# Lets devices check in at a constant rate, without and with faults of the table, and prints latencies, errors and memory over time; takes `--rate N`, `--seconds N`, `--devices N`, `--connections N`, `--smoke`.
load *ARGS:
    cargo bench --quiet -p packcast-tests --bench load -- --plot {{ plots }} {{ ARGS }}

# Stores 10,000 and 60,000 small files as the agent does, and compares the time with `tar` and one `sync`; takes `--files N`, `--rounds N`, `--folder FOLDER`.
bench-store *ARGS:
    cargo bench --quiet -p packcast-agent --bench store -- {{ ARGS }}

# Tries the attacks of somebody without a signing key: on objects, table, function, and all of them at once.
attacks *ARGS:
    cargo bench --quiet -p packcast-tests --bench attacks -- {{ ARGS }}

# Counts a fleet's cloud requests in a month, and computes their cost; takes `--devices N`, `--check-ins-per-hour N`, `--packages N`, `--fragments N`, `--ocs`, `--rollout`.
cost *ARGS:
    cargo bench --quiet -p packcast-tests --bench cost -- {{ ARGS }}

# Measures proofs and pages of the signed state, for 1,000, 100,000 and 1,000,000 devices.
state:
    cargo run --quiet --release -p packcast-protocol --example state

# Adds many devices to a group with one command, and measures the duration; takes `--devices N`.
bench-group-add *ARGS:
    cargo bench --quiet -p packcast-tests --bench group-add -- {{ ARGS }}

# Imports from an OCS server with 1,000 packages, 200 groups and 10,000 devices, and prints times and units; needs `tests/bench/ocs-server install`; takes `--packages N`, `--groups N`, `--devices N`, `--results N`.
bench-import *ARGS:
    cargo bench --quiet -p packcast-tests --bench import-ocs -- {{ ARGS }}

# Asks for lists of many devices with each filter, and prints the time and the read units of each; takes `--devices N`, `--smoke`.
bench-lists *ARGS:
    cargo bench --quiet -p packcast-tests --bench lists -- {{ ARGS }}

# Asks a console for each page over many devices and packages, and prints the time and the read units; takes `--devices N`, `--packages N`, `--smoke`.
bench-console *ARGS:
    cargo bench --quiet -p packcast-tests --bench console -- {{ ARGS }}

# Tests the console in Chromium, and writes the pictures of the documents; look at each before you commit it.
console-shots:
    command -v pngquant >/dev/null || { echo "pngquant is missing: run './tests/run setup', which installs it" >&2; exit 1; }
    tests/axe-core
    PACKCAST_CONSOLE_SHOTS={{ justfile_directory() }}/docs/console CI=true \
        cargo nextest run -p packcast-tests console_browser::pictures::a_picture \
        console_browser::pictures::pictures console_browser::publishing::a_newcomer
    pngquant --force --ext .png --speed 1 --strip docs/console/*.png
    ls -l docs/console

# Simulates rollouts on 100 to 1,000,000 devices with the real rules, and compares each with the bound of its plan; takes `--devices N`, `--seeds N`, `--seed N`, `--smoke`.
simulate-rollout *ARGS:
    cargo bench --quiet -p packcast-rollout --bench simulate-rollout -- {{ ARGS }}

# Shows rollouts of packages that kill or fail, and of a good one, on 1,000 simulated devices: the bound, the time line, the result; takes `--seed N`.
demo-halt *ARGS:
    cargo test --quiet -p packcast-rollout --bench simulate-rollout -- --demo {{ ARGS }}

# Announces a package to 28, 278 and 1,000 devices a second in simulated time, and measures refused transactions and the time of stops; takes `--seed N`, `--smoke`.
announce-rate *ARGS:
    cargo test --quiet -p packcast-check-in --bench announce-rate -- {{ ARGS }}

# Compares the cold start of the shipped function with that of a hello-world on the same runtime.
cold-start:
    infra/cargo-lambda lambda build --profile function --compiler cargo --skip-target-check --quiet \
        --package packcast-check-in --package packcast-cold-start
    "${CARGO_TARGET_DIR:-target}/lambda/packcast-cold-start/bootstrap"

# Builds the shipped programs for other machines, and runs them; takes `lambda`, `agent-arm64`, `agent-windows`.
cross *ARGS:
    infra/cross {{ ARGS }}

# Builds .deb, .rpm and .msi of the agent and a .deb of packcast, and prints their sizes; takes `agent-amd64`, `agent-arm64`, `agent-msi`, `cli-amd64`.
packages *ARGS:
    infra/packages {{ ARGS }}

# Builds everything that a release ships, with checksums, signatures and SBOMs; takes parts, `--profile PROFILE`, `--output FOLDER`, `--compare FOLDER FOLDER`.
dist *ARGS:
    infra/dist {{ ARGS }}

# Builds the agent for Windows, and under Wine deploys a package of each kind, then installs it as a service that updates itself. With a number N, kills it at one of N points of its updates instead.
windows *ARGS:
    infra/cross agent-windows {{ ARGS }}

# Deploys the stack to engines on this machine (localstack, ministack), and uses it step by step.
cloud *ENGINES:
    ./tests/cloud {{ ENGINES }}

# Deploys a package on this machine, and shows each step; takes your own archive, too.
demo *ARGS:
    cargo run --release -- demo {{ ARGS }}

# Writes protocol/schemas from the types; read the difference before you commit it.
schemas:
    UPDATE_SCHEMAS=1 cargo test --quiet -p packcast-protocol --test it schemas
    git --no-pager diff --stat -- protocol/schemas

# Formats the code.
fmt:
    cargo fmt --all
