#!/usr/bin/env bash
# Kills the real broker under load; see main.go. `--cycles N` for a longer run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export SPILLWAYD="${SPILLWAYD:-$PWD/../bazel-bin/broker/server/spillwayd}"
exec go run ./crash "$@"
