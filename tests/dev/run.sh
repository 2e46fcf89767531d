#!/usr/bin/env bash
# What ./dev counts as passed and failed, and what it compares with.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
# steps.sh keeps its logs there.
# shellcheck disable=SC2034
state=$root
# shellcheck source=tools/dev/steps.sh
source tools/dev/steps.sh

bad=0
cases=0

# expect WANTED COUNTER STATUS LINES: a command that prints LINES and exits with
# STATUS counts as WANTED, "passed failed".
expect() {
  local wanted=$1 counter=$2 status=$3 lines=$4
  passed=0
  failed=0
  step case "$counter" print_and_exit "$lines" "$status" >/dev/null
  cases=$((cases + 1))
  [ "$passed $failed" = "$wanted" ] || {
    bad=$((bad + 1))
    echo "$counter, status $status: counted $passed $failed, want $wanted, of:"
    echo "$lines"
  }
}
print_and_exit() {
  echo "$1"
  return "$2"
}

expect "1 0" whole 0 ""
expect "0 1" whole 3 ""
expect "0 0" nothing 0 ""
expect "0 1" nothing 1 ""
expect "3 0" bazel 0 "\
//a:one    PASSED in 0.1s
//a:two    (cached) PASSED in 0.1s
//b:three  FLAKY, failed in 1 out of 2 in 0.1s
Executed 2 out of 3 tests: 3 tests pass."
expect "1 3" bazel 3 "\
//a:one    PASSED in 0.1s
//a:two    FAILED in 0.1s
//b:three  TIMEOUT in 60.0s
//b:four   NO STATUS"
expect "0 1" bazel 1 "ERROR: no such package"
expect "2 1" go 1 "\
=== RUN   TestA
--- PASS: TestA (0.00s)
    --- PASS: TestA/x (0.00s)
--- FAIL: TestB (0.00s)
--- SKIP: TestC (0.00s)"
expect "0 1" go 1 "FAIL	spillway.dev/x [build failed]"
expect "5 1" cargo 101 "\
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out
test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out"
expect "0 1" cargo 101 "error: could not compile"
expect "7 2" script 1 "\
1 passed, 0 failed
7 passed, 2 failed"
expect "4 1" script 1 "4 passed, 0 failed"
expect "1 0" script 0 "fine"

# A step stops at its first failing command.
first_fails() {
  false
  true
}
passed=0 failed=0
step case whole first_fails >/dev/null
cases=$((cases + 1))
[ "$failed" -eq 1 ] || {
  bad=$((bad + 1))
  echo "a failing command in the middle of a step went unseen"
}

# What failed is shown, however much follows it.
fails_early() {
  echo "a.cc:7: Failure"
  echo "Expected: better"
  seq 100
  return 1
}
shown=$(step case whole fails_early)
cases=$((cases + 1))
[[ $shown == *"| Expected: better"*"| 100"* ]] || {
  bad=$((bad + 1))
  echo "what failed is not shown: $shown"
}

# shellcheck source=tests/dev/gate.sh
source tests/dev/gate.sh

echo "$((cases - bad)) passed, $bad failed"
[ "$bad" -eq 0 ]
