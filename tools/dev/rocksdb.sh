# shellcheck shell=bash disable=SC2154 # root and cache are set by common.sh
# RocksDB of a newer release than Debian's, built once and kept: its log is written
# in half of the time. The sources come out of a crate, for crates are to be had
# wherever Spillway can be built.

ROCKSDB_CRATE=librocksdb-sys@0.19.0+11.8.1

# The folder of the library that was built, named after all that it depends on.
rocksdb_folder() {
  local key
  key=$({ cat third_party/rocksdb/Makefile third_party/rocksdb/release.BUILD; g++ -dumpfullversion; } |
    sha256sum | cut -c1-12)
  echo "$cache/rocksdb/${ROCKSDB_CRATE#*+}-$key"
}

rocksdb_build() {
  local to work crate=${ROCKSDB_CRATE%@*} version=${ROCKSDB_CRATE#*@}
  to=$(rocksdb_folder)
  [ ! -f "$to/librocksdb.a" ] || return 0
  say "building RocksDB ${ROCKSDB_CRATE#*+}, once: about 16 minutes on 2 cores"
  work=$cache/rocksdb/work
  mkdir -p "$work/sources"
  printf '[package]\nname = "sources"\nversion = "0.0.0"\nedition = "2021"\n[lib]\npath = "lib.rs"\n[dependencies]\n%s = { version = "=%s", default-features = false }\n' \
    "$crate" "${version%+*}" >"$work/sources/Cargo.toml"
  : >"$work/sources/lib.rs"
  (cd "$work/sources" && cargo vendor --quiet >/dev/null)
  make --silent --jobs="$(nproc)" --file=third_party/rocksdb/Makefile \
    SOURCES="$work/sources/vendor/$crate" OUT="$work"
  mkdir -p "$to"
  cp -r "$work/sources/vendor/$crate/rocksdb/include" "$to/"
  cp third_party/rocksdb/release.BUILD "$to/BUILD.bazel"
  echo 'workspace(name = "rocksdb")' >"$to/WORKSPACE"
  mv "$work/librocksdb.a" "$to/" # last: it says that the rest is there
  rm -rf "$work"
}
