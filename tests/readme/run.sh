#!/usr/bin/env bash
# The programs of README.md, as printed, against a broker: one publishes, the other
# consumes what it published.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
spillwayd=${SPILLWAYD:-$root/bazel-bin/broker/server/spillwayd}
work=$(mktemp -d)
broker=
trap '[ -z "$broker" ] || kill "$broker"; rm -rf "$work"' EXIT
passed=0
failed=0

# block LANGUAGE: the first block of that language.
block() {
  awk -v fence="\`\`\`$1" '$0 == fence { on = 1; next } on && /^```/ { exit } on' "$root/README.md"
}

expect() {
  local name=$1 want=$2 got
  shift 2
  if got=$("$@" 2>"$work/errors") && [ "$got" = "$want" ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED: %s\n  want: %s\n  got:  %s\n' "$name" "$want" "$got"
    cat "$work/errors"
  fi
}

go_program() {
  mkdir "$work/go" && cd "$work/go"
  go mod init hello
  go mod edit -require spillway.dev/clients/go@v0.0.0 \
    -replace "spillway.dev/clients/go=$root/clients/go"
  block go | sed "s/localhost:7420/$address/" >main.go
  go mod tidy
  go run .
}

rust_program() {
  mkdir "$work/rust" && cd "$work/rust"
  cargo init --quiet --vcs none --name hello
  cargo add --quiet spillway-client --path "$root/clients/rust"
  cargo add --quiet tokio --features macros,rt-multi-thread
  block rust | sed "s/localhost:7420/$address/" >src/main.rs
  # What the client's own tests have built serves here, too.
  CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/clients/rust/target} cargo run --quiet
}

"$spillwayd" --listen 127.0.0.1:0 --http-listen "" --data-dir "$work/data" \
  --ports-file "$work/ports" >"$work/log" 2>&1 &
broker=$!
for _ in $(seq 1000); do
  [ ! -s "$work/ports" ] || break
  kill -0 "$broker" || { cat "$work/log"; exit 1; }
  read -rt 0.01 <> <(:) || true
done
address="127.0.0.1:$(sed 's/.*"port": \([0-9]*\).*/\1/' "$work/ports")"

expect "the Go program" "kept at offset 0" go_program
expect "the Rust program" "0: hello from Go" rust_program
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
