# shellcheck shell=bash disable=SC2154 # root, state and cache are set by common.sh
# Runs each target of spillway_cc_fuzz for some seconds. What it learns stays in
# .dev/fuzz; an input that fails is kept there and named. Seeds are those under
# tests/fuzz/<target>/, if there are any.

source tools/dev/install.sh

dev_fuzz() {
  local seconds=${1:-30} target targets failed=0
  [[ $seconds =~ ^[0-9]+$ ]] || die "fuzz: '$seconds' is not a number of seconds"
  dev_install
  mapfile -t targets < <(bazel query --noshow_progress 'attr(tags, fuzz, //...)')
  [ ${#targets[@]} -gt 0 ] || die "fuzz: there are no targets"
  fuzz_bazel build --config=fuzz "${targets[@]}"
  for target in "${targets[@]}"; do
    fuzz_one "$target" "$seconds" || failed=$((failed + 1))
  done
  echo "$((${#targets[@]} - failed)) passed, $failed failed"
  [ "$failed" -eq 0 ]
}

# Clang's toolchain in an output base of its own: Bazel would configure the
# toolchain anew with each change of compiler.
fuzz_bazel() { bazel --output_base="$(bazel info output_base)-fuzz" "$@"; }

fuzz_one() {
  local target=$1 seconds=$2 name=${1##*:} package=${1%:*} folder binary
  folder=$state/fuzz/$name
  binary=$(fuzz_bazel info --config=fuzz bazel-bin 2>/dev/null)/${package#//}/$name
  mkdir -p "$folder/corpus"
  local corpora=("$folder/corpus")
  [ ! -d "tests/fuzz/$name" ] || corpora+=("tests/fuzz/$name")
  echo "== $target, $seconds s"
  "$binary" -max_total_time="$seconds" -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="$folder/" "${corpora[@]}"
}
