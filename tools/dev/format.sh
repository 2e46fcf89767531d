# shellcheck shell=bash
# Rewrites sources into the format that lint wants.

source tools/dev/install.sh

dev_format() {
  dev_install
  local folder
  cpp_sources | xargs -r clang-format -i
  sources '*.go' | xargs -r gofmt -w
  for folder in $(rust_workspace); do (cd "$folder" && cargo fmt --all); done
}
