# shellcheck shell=bash disable=SC2154 # root, state and cache are set by common.sh
# Installs what is missing, and nothing else.

source tools/dev/grpc.sh
source tools/dev/rocksdb.sh

PACKAGES=(
  bazel-bootstrap g++ git make pkg-config protobuf-compiler protobuf-compiler-grpc
  libprotobuf-dev libgrpc++-dev libabsl-dev librocksdb-dev libgtest-dev libgmock-dev libbenchmark-dev
  prometheus-cpp-dev libspdlog-dev libtomlplusplus-dev libcli11-dev nlohmann-json3-dev
  clang clang-format libclang-rt-14-dev python3-pip
)

# Of PyPI. Debian's, 14, takes three times as long: it looks into the headers of
# libraries, too.
CLANG_TIDY=clang-tidy==23.1.4
clang_tidy=$cache/tools/$CLANG_TIDY/clang_tidy/data/bin/clang-tidy

# Go tools by the package to install; the module is a prefix of it.
GO_TOOLS=(
  google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
  google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
  honnef.co/go/tools/cmd/staticcheck@v0.8.2
  github.com/bufbuild/buf/cmd/buf@v1.50.0
)

dev_install() {
  require_debian
  install_packages "${PACKAGES[@]}"
  require_go
  require_rust
  install_go_tools
  install_clang_tidy
  bazel_configure
}

# What `--release` builds with, beside what dev_install leaves.
release_libraries() {
  grpc_build
  rocksdb_build
}

require_debian() {
  local os
  os=$(. /etc/os-release && echo "$ID ${VERSION_ID:-}")
  [ "$os" = "debian 12" ] ||
    die "needs Debian 12, whose packages it builds against (a container will do); this is $os"
}

# Which of these packages are not there.
missing_packages() {
  local package
  for package in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
      echo "$package"
  done
}

install_packages() {
  local need sudo=()
  mapfile -t need < <(missing_packages "$@")
  [ ${#need[@]} -gt 0 ] || return 0
  say "installing ${need[*]}"
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${need[@]}"
}

require_go() {
  command -v go >/dev/null || die "needs Go 1.26 or newer: https://go.dev/doc/install"
}

require_rust() {
  command -v cargo >/dev/null || die "needs Rust 1.85 or newer: https://rustup.rs"
  local component
  for component in clippy fmt; do
    cargo "$component" --version >/dev/null 2>&1 ||
      die "needs 'cargo $component': rustup component add clippy rustfmt"
  done
}

# Whether the tool that the PATH finds was built from this package and version.
has_go_tool() {
  local package=${1%@*} version=${1#*@} binary
  binary=$(command -v "$(basename "$package")") || return 1
  go version -m "$binary" 2>/dev/null |
    awk -v package="$package" -v version="$version" '
      $1 == "path" { path = $2 == package }
      $1 == "mod" { mod = $3 == version }
      END { exit !(path && mod) }'
}

install_go_tools() {
  local tool
  for tool in "${GO_TOOLS[@]}"; do
    has_go_tool "$tool" && continue
    say "installing $tool"
    GOBIN="$cache/tools/bin" go install "$tool"
  done
}

# Into a folder of its own, which goes with the version.
install_clang_tidy() {
  [ ! -x "$clang_tidy" ] || return 0
  say "installing $CLANG_TIDY"
  /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --no-deps \
    --target "$cache/tools/$CLANG_TIDY" "$CLANG_TIDY"
}
