#!/usr/bin/env bash
# The demo: a producer and a consumer through the broker, with credit,
# overflow, a crash and replay to be seen. Called by `./dev demo`, which builds
# the broker first.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export SPILLWAYD="${SPILLWAYD:-$root/bazel-bin/broker/server/spillwayd}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The consumer is a Go program until the Rust client can take its place.
(cd "$root/tests" && go build -o "$work/" ./demo ./demo/consumer)
"$work/demo" --consumer "$work/consumer" \
  --data "$root/tests/data/azure-llm-2023" "$@"
