# shellcheck shell=bash
# Shows back-pressure on this machine.

source tools/dev/build.sh

dev_demo() {
  dev_install
  build_broker
  export_binaries
  exec tests/demo/run.sh "$@"
}
