#!/usr/bin/env bash
# The real broker through the Go client.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export SPILLWAYD="${SPILLWAYD:-$PWD/../bazel-bin/broker/server/spillwayd}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
go test -race -tags e2e -count=1 -v -timeout 15m ./e2e "$@" | tee "$log" || status=$?
passed=$(grep -cE '^ *--- PASS:' "$log") || true
failed=$(grep -cE '^ *--- FAIL:' "$log") || true
[ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
