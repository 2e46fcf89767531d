# shellcheck shell=bash
# Formatting and static analysis of all languages; each check counts as one.

source tools/dev/install.sh
source tools/dev/steps.sh

dev_lint() {
  step install nothing dev_install
  [ "$failed" -eq 0 ] || finish
  lint_steps
  finish
}

lint_steps() {
  step lint/clang-format whole lint_clang_format
  step lint/clang-tidy whole lint_clang_tidy
  step lint/unbuilt whole lint_unbuilt
  step lint/gofmt whole lint_gofmt
  local folder
  for folder in $(go_modules); do
    step "lint/go-vet-${folder//\//-}" whole in_folder "$folder" go vet ./...
    step "lint/staticcheck-${folder//\//-}" whole in_folder "$folder" staticcheck ./...
  done
  for folder in $(rust_workspace); do
    step lint/rustfmt whole in_folder "$folder" cargo fmt --all --check
    step lint/clippy whole in_folder "$folder" \
      cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
  done
  step lint/buf whole buf lint proto
  lint_breaking
  step lint/generated whole tools/generate --check
  lint_shell
}

in_folder() {
  cd "$1"
  shift
  "$@"
}

lint_clang_format() {
  cpp_sources | xargs -r clang-format --dry-run -Werror || {
    echo "./dev format mends this"
    return 1
  }
}

# Builds first, so that headers made from protos are there.
lint_clang_tidy() {
  bazel build //...
  write_compile_commands
  go run -C tools ./tidy -root "$root" -cache "$cache/tidy" -salt "$(package_key) $CLANG_TIDY" \
    -clang-tidy "$clang_tidy" broker/ clients/ tests/ third_party/
}

# For clang-tidy, and for editors.
write_compile_commands() {
  mkdir -p "$state"
  bazel aquery --noshow_progress --output=jsonproto 'mnemonic(CppCompile, //...)' >"$state/aquery.json"
  go run -C tools ./compdb -root "$root" <"$state/aquery.json" >compile_commands.json
}

# A source without a target is neither compiled nor tested. Benchmarks are tagged
# manual, since only `./dev bench` needs them.
lint_unbuilt() {
  local unbuilt
  unbuilt=$(sources '*.cc' ':!*_bench.cc' ':!tests/bench/*' | sort |
    comm -23 - <(sed -n 's/^ *"file": "\(.*\)",$/\1/p' compile_commands.json | sort))
  [ -z "$unbuilt" ] || {
    echo "in no target:"
    echo "$unbuilt"
    return 1
  }
}

lint_gofmt() {
  local unformatted
  unformatted=$(sources '*.go' | xargs -r gofmt -l)
  [ -z "$unformatted" ] || {
    echo "not in the format of gofmt:"
    echo "$unformatted"
    return 1
  }
}

# What v1 promised stays: compared with where this work left the main branch.
lint_breaking() {
  local base
  base=$(git merge-base origin/main HEAD 2>/dev/null) || base=$(git rev-parse --verify --quiet HEAD) || true
  if [ -z "$base" ] || ! git cat-file -e "$base:proto/spillway/v1" 2>/dev/null; then
    skip lint/buf-breaking "no earlier protos to compare with"
    return
  fi
  step lint/buf-breaking whole breaking_since "$base"
}

breaking_since() {
  local old
  old=$(mktemp -d)
  # shellcheck disable=SC2064 # the folder of now
  trap "rm -rf '$old'" EXIT
  git archive "$1" proto | tar --extract --directory="$old"
  buf breaking proto --against "$old/proto"
}

lint_shell() {
  if ! command -v shellcheck >/dev/null; then
    skip lint/shellcheck "shellcheck is not installed"
    return
  fi
  step lint/shellcheck whole lint_shellcheck
}

# Scripts by their first line or their name.
lint_shellcheck() {
  { sources '*.sh' && git grep -lI -e '^#!.*sh$' -- ':!*.sh'; } | sort --unique |
    xargs -r shellcheck --external-sources
}
