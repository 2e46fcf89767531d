# shellcheck shell=bash disable=SC2154 # root is set by common.sh
# Builds what users run: bazel-bin/broker/server/spillwayd,
# bazel-bin/broker/cli/spillway, and both clients. With --release, the first two in
# release-bin, with a gRPC and a RocksDB of our own.

source tools/dev/install.sh

dev_build() {
  case "${1:-}" in
    "")
      dev_install
      build_broker
      build_clients
      ;;
    --release) build_release ;;
    *) die "build: no option '$1'" ;;
  esac
}

# The tests of what stands on these libraries are a part of it, and that folders move
# between both builds: nothing else has run with them before.
build_release() {
  dev_install
  release_libraries
  build_broker
  bazel build --config=release //broker/server:spillwayd //broker/cli:spillway
  bazel test --config=release --noshow_progress //broker/storage/... //broker/service/... //clients/cpp/...
  export_binaries
  (cd tests && SPILLWAYD_RELEASE=$root/release-bin/broker/server/spillwayd go test -count=1 ./release)
}

build_broker() { bazel build //broker/server:spillwayd //broker/cli:spillway; }

build_clients() {
  local folder
  for folder in $(go_modules); do (cd "$folder" && go build ./...); done
  for folder in $(rust_workspace); do (cd "$folder" && cargo build --locked --release); done
}
