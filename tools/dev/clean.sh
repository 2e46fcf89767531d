# shellcheck shell=bash disable=SC2154 # root, state and cache are set by common.sh
# Removes what builds left in this clone, and, if asked, what clones share.

dev_clean() {
  case "${1:-}" in
    "" | --all) ;;
    *) die "clean: no option '$1'" ;;
  esac
  bazel clean
  rm -rf "$state" compile_commands.json clients/rust/target
  [ "${1:-}" != --all ] || rm -rf "$cache"
}
