#!/usr/bin/env bash
# Every scenario with every client and every pairing of clients, against the real
# broker. Arguments go to `go test`: `-run 'TestScenarios/run/replay'` for some.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export SPILLWAYD="${SPILLWAYD:-$PWD/../bazel-bin/broker/server/spillwayd}"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# With the race detector, since a driver is a client under all kinds of load.
(cd ../clients/go && go build -race -o "$folder/go" ./cmd/conformance)
(cd ../clients/rust && cargo build --quiet --locked -p spillway-conformance)
export DRIVERS="${DRIVERS:-go=$folder/go rust=${CARGO_TARGET_DIR:-$PWD/../clients/rust/target}/debug/conformance}"
status=0
go test -tags e2e -count=1 -v -parallel 4 -timeout 18m ./conformance "$@" >"$folder/log" 2>&1 || status=$?
grep -vE '^ *(=== |--- PASS: )' "$folder/log" || true
passed=$(grep -cE '^ *--- PASS:' "$folder/log") || true
failed=$(grep -cE '^ *--- FAIL:' "$folder/log") || true
[ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
