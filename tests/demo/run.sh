#!/usr/bin/env bash
# The demo: a Go producer and a Rust consumer through the broker, with credit,
# overflow, a crash and replay to be seen. Called by `./dev demo`, which builds
# the broker first.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export SPILLWAYD="${SPILLWAYD:-$root/bazel-bin/broker/server/spillwayd}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo build --quiet --release --locked --manifest-path "$root/tests/demo/consumer/Cargo.toml" \
  --target-dir "$root/clients/rust/target"
(cd "$root/tests" && go build -o "$work/demo" ./demo)
"$work/demo" --consumer "$root/clients/rust/target/release/demo-consumer" \
  --data "$root/tests/data/azure-llm-2023" "$@"
