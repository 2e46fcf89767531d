# shellcheck shell=bash disable=SC2154 # root is set by common.sh
# Runs the benchmarks; arguments go to tests/bench/run.sh. With --release before
# them, the programs of `./dev build --release`.

source tools/dev/build.sh
source tools/dev/gate.sh

dev_bench() {
  local programs=(//broker/server:spillwayd) kind=(--compilation_mode=opt) bin=$root/bazel-bin
  if [ "${1:-}" = --release ]; then
    kind=(--config=release) bin=$root/release-bin
    shift
  fi
  # Said before anything is built.
  case ${1:-} in
    core)
      programs+=(//tests/bench/core:load //tests/bench/limits:relay_server //tests/bench/limits:relay_load
        //tests/bench/limits:raw_rocksdb //tests/bench/limits:raw_machine)
      ;;
    peers) programs+=(//tests/bench/limits:relay_server) ;;
    profile)
      command -v perf >/dev/null || die "profile needs perf: apt-get install linux-perf"
      programs+=(//tests/bench/core:load)
      ;;
    micro) programs=(//tests/bench/micro) ;;
    gate)
      programs+=(//tests/bench/core:load)
      gate_arguments "$@"
      set -- "${gate_rest[@]}"
      ;;
    scale)
      programs+=(//tests/bench/core:load //tests/bench/limits:raw_rocksdb //tests/bench/scale:many
        //tests/bench/scale:hold //tests/bench/limits:relay_many_server //tests/bench/limits:relay_many_load)
      ;;
    *) die "bench: ${1:+no benchmark \"$1\"; }usage: ./dev bench [--release] core|peers|scale|profile|micro|gate [ARGS], see docs/benchmarks.md" ;;
  esac
  dev_install
  [ "${kind[0]}" != --config=release ] || release_libraries
  bazel build "${kind[@]}" "${programs[@]}"
  # One client less is no reason to measure nothing.
  [ "$1" != peers ] || bazel build "${kind[@]}" //tests/bench/peers/cpp:spillway_loads ||
    say "bench: the program of Spillway's C++ client does not build"
  export SPILLWAYD=$bin/broker/server/spillwayd SPILLWAY_BENCH_BIN=$bin/tests/bench
  [ "$1" != gate ] || gate_build "${kind[@]}"
  cd "$OLDPWD" || exit # where ./dev was called: what FILE is relative to
  exec "$root/tests/bench/run.sh" "$@"
}
