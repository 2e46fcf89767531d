# shellcheck shell=bash disable=SC2154 # root, state and cache are set by common.sh
# Runs each target of spillway_cc_fuzz for some seconds. What it learns stays in
# .dev/fuzz; an input that fails is kept there and named. Seeds are the files of
# testdata/<target>/ beside the target, if there are any.

source tools/dev/install.sh

source tools/dev/steps.sh

dev_fuzz() {
  local seconds=${1:-30} target targets bin
  [[ $seconds =~ ^[0-9]+$ ]] || die "fuzz: '$seconds' is not a number of seconds"
  dev_install
  mapfile -t targets < <(bazel query --noshow_progress 'attr(tags, fuzz, //...)' 2>/dev/null)
  [ ${#targets[@]} -gt 0 ] || die "fuzz: there are no targets"
  step fuzz/build nothing fuzz_bazel build --config=fuzz "${targets[@]}"
  [ "$failed" -eq 0 ] || finish
  bin=$(fuzz_bazel info --config=fuzz bazel-bin 2>/dev/null)
  for target in "${targets[@]}"; do
    step "fuzz/${target##*:}" whole fuzz_one "$bin" "$target" "$seconds"
  done
  finish
}

# Clang's toolchain in an output base of its own: Bazel would configure the
# toolchain anew with each change of compiler.
fuzz_bazel() { bazel --output_base="$(bazel info output_base)-fuzz" "$@"; }

fuzz_one() {
  local bin=$1 package=${2%:*} name=${2##*:} seconds=$3
  package=${package#//}
  local corpora=("$state/fuzz/$name/corpus")
  mkdir -p "${corpora[0]}"
  [ ! -d "$package/testdata/$name" ] || corpora+=("$package/testdata/$name")
  "$bin/$package/$name" -max_total_time="$seconds" -print_final_stats=1 \
    -artifact_prefix="$state/fuzz/$name/" "${corpora[@]}"
}
