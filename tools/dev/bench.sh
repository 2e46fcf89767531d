# shellcheck shell=bash disable=SC2154 # root is set by common.sh
# Runs the benchmarks; arguments go to tests/bench/run.sh.

source tools/dev/build.sh

dev_bench() {
  local programs=(//broker/server:spillwayd)
  # Said before anything is built.
  case ${1:-} in
    core)
      programs+=(//tests/bench/core:load //tests/bench/limits:relay_server //tests/bench/limits:relay_load
        //tests/bench/limits:raw_rocksdb //tests/bench/limits:raw_machine)
      ;;
    peers) ;;
    *) die "bench: ${1:+no benchmark \"$1\"; }usage: ./dev bench core|peers [ARGS], see docs/benchmarks.md" ;;
  esac
  dev_install
  bazel build --compilation_mode=opt "${programs[@]}"
  export_binaries
  cd "$OLDPWD" || exit # where ./dev was called: what FILE is relative to
  exec "$root/tests/bench/run.sh" "$@"
}
