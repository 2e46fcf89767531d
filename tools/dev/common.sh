# shellcheck shell=bash
# What every command of ./dev uses. Sourced in the root of the repository.

root=$PWD
cache=${SPILLWAY_CACHE:-$HOME/.cache/spillway}
state=$root/.dev # of this clone; not committed
# Pinned tools first, then those that `go install` left in its default place.
export PATH="$cache/tools/bin:$PATH:$HOME/go/bin:$HOME/.cargo/bin"

say() { echo "dev: $*" >&2; }
die() {
  say "$*"
  exit 1
}

# Files that git tracks or would track, of the given patterns.
sources() {
  local file
  git ls-files --cached --others --exclude-standard -- "$@" | while read -r file; do
    [ ! -f "$file" ] || echo "$file" # not those that were just deleted
  done
}

# C++ of this repository.
cpp_sources() { sources '*.h' '*.cc'; }

# Folders that hold a go.mod.
go_modules() { sources 'go.mod' '*/go.mod' | while read -r file; do dirname "$file"; done; }

# The folder of the Rust workspace, if there is one.
rust_workspace() { [ ! -f clients/rust/Cargo.toml ] || echo clients/rust; }

# Stands for the versions of all that compiles or is compiled against, because
# Bazel does not see what lies in /usr.
package_key() {
  dpkg-query -W -f='${Package} ${Version}\n' |
    grep -E -e '-dev |^(g\+\+|gcc|cpp|clang|binutils|protobuf-compiler)' |
    sha256sum | cut -c1-16
}

# Writes .dev/bazelrc, which .bazelrc imports: so that Bazel uses the shared disk
# cache whether ./dev or a person calls it.
bazel_configure() {
  local key rc
  key=$(package_key)
  rc="build --disk_cache=$cache/bazel-$key
build:release --override_repository=grpc=$(grpc_folder)
build:release --override_repository=rocksdb=$(rocksdb_folder)"
  mkdir -p "$state"
  [ "$(cat "$state/bazelrc" 2>/dev/null)" != "$rc" ] || return 0
  # What was compiled against other packages must not be used again.
  if [ -f "$state/bazelrc" ] && ! grep -qF "/bazel-$key" "$state/bazelrc"; then bazel clean; fi
  echo "$rc" >"$state/bazelrc"
}

# Where scripts under tests/ find the broker and the command line.
export_binaries() {
  export SPILLWAYD=$root/bazel-bin/broker/server/spillwayd
  export SPILLWAY_CLI=$root/bazel-bin/broker/cli/spillway
}
