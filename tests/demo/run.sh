#!/usr/bin/env bash
# The demo: a producer and a consumer through the broker, with credit,
# overflow, a crash and replay to be seen. Called by `./dev demo`, which builds
# the broker first.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export SPILLWAYD="${SPILLWAYD:-$root/bazel-bin/broker/server/spillwayd}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

(cd "$root/tests" && go build -o "$work/" ./demo)
(cd "$root/clients/rust" && cargo build --quiet --locked --release -p spillway-demo-consumer)
"$work/demo" --consumer "${CARGO_TARGET_DIR:-$root/clients/rust/target}/release/spillway-demo-consumer" \
  --data "$root/tests/data/azure-llm-2023" "$@"
