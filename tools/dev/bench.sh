# shellcheck shell=bash disable=SC2154 # root is set by common.sh
# Runs the benchmarks; arguments go to tests/bench/run.sh.

source tools/dev/build.sh

dev_bench() {
  # Said before anything is built.
  case ${1:-} in
    core) ;;
    *) die "bench: ${1:+no workload \"$1\"; }usage: ./dev bench core [--json FILE] [--quick]" ;;
  esac
  dev_install
  bazel build --compilation_mode=opt //broker/server:spillwayd \
    //tests/bench/core:load //tests/bench/limits:relay_server //tests/bench/limits:relay_load \
    //tests/bench/limits:raw_rocksdb //tests/bench/limits:raw_machine
  export_binaries
  cd "$OLDPWD" || exit # where ./dev was called: what FILE is relative to
  exec "$root/tests/bench/run.sh" "$@"
}
