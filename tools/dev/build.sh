# shellcheck shell=bash
# Builds what users run: bazel-bin/broker/server/spillwayd,
# bazel-bin/broker/cli/spillway, and both clients.

source tools/dev/install.sh

dev_build() {
  dev_install
  build_broker
  build_clients
}

build_broker() { bazel build //broker/server:spillwayd //broker/cli:spillway; }

build_clients() {
  local folder
  for folder in $(go_modules); do (cd "$folder" && go build ./...); done
  for folder in $(rust_workspace); do (cd "$folder" && cargo build --locked --release); done
}
