# shellcheck shell=bash disable=SC2154 # root and cache are set by common.sh
# gRPC of Debian's own sources, built once and kept: Debian's library has gRPC's debug
# checks compiled in, of which one looks for each event in a list of all that are
# awaited, so that an event costs the more the more streams there are (ADR 21).

GRPC_PACKAGES=(cmake dpkg-dev patch)

# The compiler of protos is Debian's; its library would be needed by gRPC's plugins only.
GRPC_OPTIONS=(
  -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF
  -DCMAKE_C_FLAGS="-march=x86-64-v3 -fno-omit-frame-pointer -w"
  -DCMAKE_CXX_FLAGS="-march=x86-64-v3 -fno-omit-frame-pointer -w"
  -DgRPC_BUILD_TESTS=OFF -DgRPC_BUILD_CODEGEN=OFF -DProtobuf_PROTOC_LIBRARY=none
  -DgRPC_{ABSL,CARES,PROTOBUF,RE2,SSL,ZLIB}_PROVIDER=package
)

# The version of the sources of what is installed: its headers are used.
grpc_version() { dpkg-query -W -f='${source:Version}' libgrpc++-dev; }

# The folder of the libraries that were built, named after all that they depend on.
grpc_folder() {
  local key
  key=$({
    cat third_party/grpc/{release.BUILD,*.patch}
    echo "${GRPC_OPTIONS[@]}"
    package_key
  } | sha256sum | cut -c1-12)
  echo "$cache/grpc/$(grpc_version)-$key"
}

grpc_build() {
  local to work
  to=$(grpc_folder)
  [ ! -f "$to/libgrpc++.a" ] || return 0
  install_packages "${GRPC_PACKAGES[@]}"
  say "building gRPC $(grpc_version) without its debug checks, once: about 7 minutes on 2 cores"
  work=$cache/grpc/work
  rm -rf "$work"
  mkdir -p "$work"
  (grpc_sources "$work")
  patch --quiet --strip=1 --directory="$work/grpc" <third_party/grpc/lazy-window-updates.patch
  cmake -Wno-dev -S "$work/grpc" -B "$work/build" "${GRPC_OPTIONS[@]}" >"$work/cmake.log"
  cmake --build "$work/build" --parallel "$(nproc)" --target grpc++ >"$work/build.log"
  mkdir -p "$to"
  cp third_party/grpc/release.BUILD "$to/BUILD.bazel"
  echo 'workspace(name = "grpc")' >"$to/WORKSPACE"
  cp "$work"/build/lib{grpc,gpr,upb,address_sorting}.a "$to/"
  mv "$work/build/libgrpc++.a" "$to/" # last: it says that the rest is there
  rm -rf "$work"
}

# Leaves the sources in $1/grpc. With package lists of its own: a machine's own need
# not name sources.
grpc_sources() {
  local file apt
  mkdir -p "$1/parts" "$1/lists" "$1/cache"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    [ -f "$file" ] || continue
    case $file in
      *.list) sed -n 's/^deb /deb-src /p' "$file" >"$1/parts/${file##*/}" ;;
      *.sources) sed 's/^Types:.*/Types: deb-src/' "$file" >"$1/parts/${file##*/}" ;;
    esac
  done
  apt=(-qq -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$1/parts"
    -o "Dir::State::lists=$1/lists" -o "Dir::Cache=$1/cache" -o APT::Sandbox::User="$(id -un)")
  cd "$1" || exit
  apt-get "${apt[@]}" update || say "a repository has no sources; going on with the others"
  apt-get "${apt[@]}" source --download-only "grpc=$(grpc_version)" ||
    die "Debian's sources of gRPC $(grpc_version) are not to be had"
  dpkg-source --no-check -x ./*.dsc grpc >/dev/null
}
