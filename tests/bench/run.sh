#!/usr/bin/env bash
# The benchmarks: `core` measures Spillway against the limits of this machine, `peers`
# against other message brokers, `scale` what many of everything cost, `gate` against
# another commit; `profile` samples the broker, `micro` measures its parts; see
# docs/benchmarks.md. Called by `./dev bench`, which builds the programs first.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export SPILLWAYD="${SPILLWAYD:-$root/bazel-bin/broker/server/spillwayd}"
export SPILLWAY_BENCH_BIN="${SPILLWAY_BENCH_BIN:-$root/bazel-bin/tests/bench}"

# Kept in .dev, so that nothing has to be removed after it and signals reach it.
mkdir -p "$root/.dev/bin"
(cd "$root/tests" && go build -o "$root/.dev/bin/bench" ./bench)
if [ "${1:-}" = peers ]; then
  (cd "$root/tests/bench/peers" && go build -o "$root/.dev/bin/peers" .)
  export SPILLWAY_ROOT="$root" SPILLWAY_PEERS="$root/.dev/bin/peers"
  export SPILLWAY_PEERS_CACHE="${SPILLWAY_CACHE:-$HOME/.cache/spillway}/peers"
fi
exec "$root/.dev/bin/bench" "$@"
