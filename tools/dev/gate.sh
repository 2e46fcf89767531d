# shellcheck shell=bash disable=SC2154 # root and state are set by common.sh
# The broker of another commit, for `./dev bench gate`: built in a worktree that is
# kept, with the caches that all clones share.

gate_tree=$state/gate

# Takes --base REV out of the arguments: the rest is gate_rest, the commit gate_base.
gate_arguments() {
  local base=
  gate_rest=()
  while [ $# -gt 0 ]; do
    case $1 in
      --base)
        [ $# -gt 1 ] || die "gate: --base needs a revision"
        base=$2
        shift
        ;;
      --base=*) base=${1#*=} ;;
      *) gate_rest+=("$1") ;;
    esac
    shift
  done
  [ -n "$base" ] || base=$(gate_default)
  gate_base=$(git rev-parse --verify --quiet "$base^{commit}") || die "gate: no commit \"$base\""
}

# Where this work left the main branch; on it, the commit before, or HEAD for what is
# not committed yet.
gate_default() {
  local left
  left=$(git merge-base origin/main HEAD 2>/dev/null) || left=$(git rev-parse HEAD)
  if [ "$left" != "$(git rev-parse HEAD)" ]; then
    echo "$left"
  elif [ -n "$(git status --porcelain --untracked-files=no)" ]; then
    echo HEAD
  else
    echo HEAD^
  fi
}

# Checks the base out, builds its broker in the same way as this one, and exports what
# tests/bench reads.
gate_build() {
  if [ ! -e "$gate_tree/.git" ]; then
    git worktree prune
    git worktree add --quiet --detach "$gate_tree" "$gate_base"
  fi
  git -C "$gate_tree" checkout --quiet --force --detach "$gate_base"
  say "building the base, $(gate_name "$gate_tree")"
  (gate_build_in "$gate_tree" "$@")
  local bin=bazel-bin
  [ "$1" != --config=release ] || bin=release-bin
  SPILLWAYD_BASE=$gate_tree/$bin/broker/server/spillwayd
  SPILLWAY_BENCH_BASE=$(gate_name "$gate_tree")
  SPILLWAY_BENCH_THIS=$(gate_name "$root")
  export SPILLWAYD_BASE SPILLWAY_BENCH_BASE SPILLWAY_BENCH_THIS
}

# By the base's own scripts, and for a broker of its own libraries.
gate_build_in() {
  cd "$1" || exit
  shift
  # shellcheck source=tools/dev/common.sh
  source tools/dev/common.sh
  source tools/dev/install.sh
  bazel_configure
  [ "$1" != --config=release ] || release_libraries
  bazel build "$@" //broker/server:spillwayd
  bazel shutdown # two servers would take memory while it is measured
}

# A commit in a line, and whether there is more than it.
gate_name() {
  local more=
  [ -z "$(git -C "$1" status --porcelain --untracked-files=no)" ] || more=", and what is not committed"
  git -C "$1" log -1 --format="%h %s$more"
}
