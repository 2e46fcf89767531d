#!/usr/bin/env bash
# What deploy/ holds is accepted by those who read it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
spillwayd=${SPILLWAYD:-$PWD/bazel-bin/broker/server/spillwayd}
passed=0
failed=0

check() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $name"
    echo "$output"
  fi
}

# Every setting of the file is known, possible, and taken from it.
settings() {
  local effective name
  effective=$("$spillwayd" --config deploy/spillwayd.toml --check-config) || {
    echo "$effective"
    return 1
  }
  sed -n 's/^\([a-z_]*\) = .*/\1/p' deploy/spillwayd.toml | while read -r name; do
    grep -q "^$name = .*# .*spillwayd.toml" <<<"$effective" || {
      echo "$name is not taken from the file:"
      echo "$effective"
      return 1
    }
  done
}

# Every setting has its row.
documented() {
  local name
  "$spillwayd" --check-config | sed -n 's/^\([a-z_]*\) = .*/\1/p' | while read -r name; do
    grep -q "^| \`$name\`" docs/configuration.md || {
      echo "docs/configuration.md does not have $name"
      return 1
    }
  done
}

# The paths in the unit are those of an installed system; verify wants a program there.
unit() {
  local folder
  folder=$(mktemp -d)
  # shellcheck disable=SC2064 # the folder of now
  trap "rm -rf '$folder'" RETURN
  sed "s|^ExecStart=/usr/bin/spillwayd|ExecStart=$spillwayd|" deploy/spillwayd.service \
    >"$folder/spillwayd.service"
  systemd-analyze verify --man=no "$folder/spillwayd.service"
}

check "deploy/spillwayd.toml" settings
check "docs/configuration.md" documented
if command -v systemd-analyze >/dev/null; then
  check "deploy/spillwayd.service" unit
else
  echo "skipped: systemd-analyze is not installed"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
