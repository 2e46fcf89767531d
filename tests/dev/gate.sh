# shellcheck shell=bash disable=SC2154 # root is set by run.sh, gate_* by tools/dev/gate.sh
# Which commit `./dev bench gate` takes for its base. Sourced by run.sh, which counts.

die() {
  echo "$*"
  exit 1
}
# shellcheck source=tools/dev/gate.sh
source tools/dev/gate.sh

# A repository whose main branch has two commits.
repository=$root/repository
in_repository() { git -C "$repository" -c user.name=a -c user.email=a@example.org "$@"; }
in_repository_commit() { in_repository commit --quiet --allow-empty --message "$1"; }
git init --quiet --initial-branch=main "$repository"
echo one >"$repository/file"
in_repository add file
in_repository_commit first
in_repository_commit second
in_repository update-ref refs/remotes/origin/main HEAD

# expect_base WANTED ARGUMENTS...: the subject of the base, then what is left of the
# arguments; or why there is none.
expect_base() {
  local wanted=$1 got
  shift
  got=$(
    cd "$repository" || exit
    gate_arguments "$@"
    echo "$(git log -1 --format=%s "$gate_base")" "${gate_rest[@]}"
  ) || true
  cases=$((cases + 1))
  [ "$got" = "$wanted" ] || {
    bad=$((bad + 1))
    echo "gate $*: \"$got\", want \"$wanted\""
  }
}

expect_base "first gate" gate
echo two >"$repository/file"
expect_base "second gate" gate
in_repository commit --quiet --all --message third
in_repository_commit fourth
expect_base "second gate --json f" gate --json f
expect_base "third gate --json f" gate --base HEAD^ --json f
expect_base "first gate" gate --base=HEAD~3
expect_base 'gate: no commit "nope"' gate --base nope
expect_base "gate: --base needs a revision" gate --base
