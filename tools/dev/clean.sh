# shellcheck shell=bash disable=SC2154 # root, state and cache are set by common.sh
# Removes what builds left in this clone, and what clones share: all of it if asked,
# otherwise what no build has used for two weeks.

dev_clean() {
  case "${1:-}" in
    "" | --all) ;;
    *) die "clean: no option '$1'" ;;
  esac
  bazel clean
  [ ! -d "$state/gate" ] || (cd "$state/gate" && bazel clean --expunge)
  rm -rf "$state" compile_commands.json clients/rust/target
  git worktree prune
  if [ "${1:-}" = --all ]; then
    rm -rf "$cache"
  elif [ -d "$cache" ]; then
    find "$cache" \( -path "$cache/tools" -o -path "$cache/peers" -o -path "$cache/rocksdb" \) -prune -o -type f -atime +14 -delete
  fi
}
