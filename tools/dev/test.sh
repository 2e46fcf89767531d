# shellcheck shell=bash
# All tests and lint.
#
# Scripts that need a running broker are tests/*/run.sh (but demo and bench). Each
# gets SPILLWAYD and SPILLWAY_CLI, has 20 minutes, exits with 0 if all is well, and
# may end with a line "N passed, N failed" to be counted by.

source tools/dev/install.sh
source tools/dev/steps.sh
source tools/dev/lint.sh

dev_test() {
  local quick=false
  case "${1:-}" in
    "") ;;
    --quick) quick=true ;;
    *) die "test: no option '$1'" ;;
  esac
  rm -rf "$state/logs"
  step install nothing dev_install
  [ "$failed" -eq 0 ] || finish # nothing else can work
  if $quick; then
    step cpp bazel bazel_test --test_tag_filters=-e2e //...
  else
    step cpp bazel bazel_test //...
  fi
  client_tests
  lint_steps
  if ! $quick; then
    step cpp-asan-ubsan bazel bazel_test --config=asan_ubsan //...
    step cpp-tsan bazel bazel_test --config=tsan //...
    scripts
  fi
  finish
}

# Without any test Bazel exits with 4, which is none of a failure.
bazel_test() {
  local status=0
  bazel test --keep_going --noshow_progress "$@" || status=$?
  [ "$status" -eq 4 ] || return "$status"
}

client_tests() {
  local folder
  for folder in $(go_modules); do
    step "go-${folder//\//-}" go in_folder "$folder" go test -race -v ./...
  done
  for folder in $(rust_workspace); do
    step rust cargo in_folder "$folder" cargo test --locked --workspace --all-features --no-fail-fast
  done
}

scripts() {
  export_binaries
  local script name
  for script in tests/*/run.sh; do
    name=$(basename "$(dirname "$script")")
    case $name in demo | bench) continue ;; esac
    [ ! -x "$script" ] || step "tests-$name" script timeout --kill-after=30 1200 "$script"
  done
}
