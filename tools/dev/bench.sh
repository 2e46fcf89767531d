# shellcheck shell=bash
# Runs the benchmarks; arguments go to tests/bench/run.sh.

source tools/dev/build.sh

dev_bench() {
  PACKAGES+=(libbenchmark-dev)
  dev_install
  build_broker
  export_binaries
  exec tests/bench/run.sh "$@"
}
