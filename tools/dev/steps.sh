# shellcheck shell=bash disable=SC2154 # root, state and cache are set by common.sh
# Runs steps, keeps their logs, counts what passed and failed.

passed=0
failed=0

# step NAME COUNTER COMMAND...: runs COMMAND with its output in
# .dev/logs/NAME.log, prints one line, and the end of the log if it failed.
# COUNTER COMMAND's log says "passed failed"; whole counts the step as one.
# A failure with nothing counted is one failure.
step() {
  local name=$1 counter=$2 log=$state/logs/$1.log status start=$SECONDS ok bad
  shift 2
  mkdir -p "$(dirname "$log")"
  [ ! -t 1 ] || printf '%s …\r' "$name"
  # A subshell that is no part of a condition: only there does errexit hold.
  set +e
  (
    set -e
    "$@"
  ) >"$log" 2>&1 </dev/null
  status=$?
  set -e
  read -r ok bad < <("count_$counter" "$log" "$status")
  [ "$status" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
  printf '%-34s %6d passed %4d failed %5d s\n' "$name" "$ok" "$bad" $((SECONDS - start))
  passed=$((passed + ok))
  failed=$((failed + bad))
  [ "$bad" -eq 0 ] || show_failure "$log"
}

skip() { printf '%-34s skipped: %s\n' "$1" "$2"; }

# Prints the line that ends every run, and fails if anything did.
finish() {
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
}

# What failed, then the end. Indented, so that no line of a log is taken for one of ours.
show_failure() {
  local of_failures='^\[  FAILED  \]|: Failure$|^ *--- FAIL|panicked at|Sanitizer: |runtime error:'
  {
    grep -E -A 4 "$of_failures" "$1" | head -n 40 || true
    echo …
    tail -n 60 "$1"
  } | sed 's/^/    | /'
  echo "    log: ${1#"$root"/}"
}

# Counts only if it fails.
count_nothing() { echo "0 0"; }

count_whole() { if [ "$2" -eq 0 ]; then echo "1 0"; else echo "0 1"; fi; }

# Lines of --test_summary=short; "(cached) PASSED" is a pass.
count_bazel() { count_lines "$1" '^//.* (PASSED|FLAKY)' '^//.* (FAILED|TIMEOUT|NO STATUS)'; }

# Lines of `go test -v`, subtests included.
count_go() { count_lines "$1" '^ *--- PASS:' '^ *--- FAIL:'; }

count_lines() {
  local ok bad
  ok=$(grep -cE "$2" "$1") || true
  bad=$(grep -cE "$3" "$1") || true
  echo "$ok $bad"
}

# Each binary and each set of examples in documentation ends with
# "test result: ok. 3 passed; 0 failed; …".
count_cargo() {
  awk '/^test result:/ { for (i = 2; i <= NF; i++) { if ($i == "passed;") ok += $(i - 1)
    if ($i == "failed;") bad += $(i - 1) } } END { print ok + 0, bad + 0 }' "$1"
}

# The last "N passed, N failed" of a script, or the script as one.
count_script() {
  local last
  last=$(grep -oE '^[0-9]+ passed, [0-9]+ failed$' "$1" | tail -n 1) || true
  if [ -n "$last" ]; then
    awk '{ print $1, $3 }' <<<"$last"
  else
    count_whole "$@"
  fi
}
