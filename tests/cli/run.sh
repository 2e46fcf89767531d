#!/usr/bin/env bash
# The command line against a real broker.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export SPILLWAYD="${SPILLWAYD:-$PWD/../bazel-bin/broker/server/spillwayd}"
export SPILLWAY_CLI="${SPILLWAY_CLI:-$PWD/../bazel-bin/broker/cli/spillway}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
go test -race -tags e2e -count=1 -v -timeout 15m ./cli "$@" | tee "$log" || status=$?
passed=$(grep -cE '^ *--- PASS:' "$log") || true
failed=$(grep -cE '^ *--- FAIL:' "$log") || true
[ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
