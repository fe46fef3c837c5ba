#!/usr/bin/env bash
# Makes a Debian 12 machine ready and builds limbic. See usage below, or --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/setup.sh [--tests] [--no-build] [--no-packages]

Installs the missing Debian packages (as root, or by sudo), keeps one torch wheel outside the
clone, and builds build/release/limbic. A second run touches nothing and takes seconds.

  --tests         build the tests too
  --no-build      only make the build folder ready
  --no-packages   leave the system's packages alone
  --help          this text

Environment:
  LIMBIC_VENV     virtual environment with the torch wheel (default ~/.cache/limbic/venv)
  LIMBIC_JOBS     compile jobs (default: the cores, as far as memory goes)
  CCACHE_DIR      compiler cache (default ~/.cache/ccache); CCACHE_MAXSIZE (default 10G)
TEXT
}

readonly TORCH=2.11.0
readonly PACKAGES=(
  g++ pkgconf ca-certificates ninja-build cmake ccache mold python3 python3-venv
  libgrpc++-dev protobuf-compiler-grpc protobuf-compiler libprotobuf-dev
  libopenmpi-dev openmpi-bin openssh-client libyaml-cpp-dev nlohmann-json3-dev libcli11-dev
  libspdlog-dev libfmt-dev libpcre2-dev libicu-dev libssl-dev zlib1g-dev libzstd-dev
  libcurl4-openssl-dev libsqlite3-dev
  libgtest-dev libgmock-dev)
readonly TEST_PACKAGES=(clang-format-14)  # without it one test is skipped

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
readonly root
readonly build=$root/build/release logs=$root/build/logs
readonly venv=${LIMBIC_VENV:-$HOME/.cache/limbic/venv}
readonly python=/usr/bin/python3

tests=false packages=true build_it=true
for option in "$@"; do
  case $option in
    --tests) tests=true ;;
    --no-build) build_it=false ;;
    --no-packages) packages=false ;;
    -h | --help) usage; exit 0 ;;
    *) echo "error: launch/setup.sh: got option '$option'; see --help" >&2; exit 2 ;;
  esac
done

fail() {
  echo "error: launch/setup.sh: $*" >&2
  exit 2
}

# stage NAME FUNCTION: one line with the seconds it took and what the function leaves in $note.
# Its output goes to a log, whose end is shown on failure.
stage() {
  local name=$1 function=$2 log=$logs/setup-$1.log start=$EPOCHREALTIME status=0
  note=""
  printf 'setup: %-10s' "$name"
  trap 'echo " failed"; tail -n 40 "'"$log"'" >&2' EXIT
  "$function" >"$log" 2>&1 || status=$?
  trap - EXIT
  if ((status != 0)); then
    echo " failed"
    tail -n 40 "$log" >&2
    echo "error: launch/setup.sh: $name ended with status $status; all it said: $log" >&2
    exit "$status"
  fi
  printf ' %6.1f s  %s\n' "$(seconds_since "$start")" "$note"
}

seconds_since() {
  awk -v from="${1/,/.}" -v to="${EPOCHREALTIME/,/.}" 'BEGIN { printf "%.1f", to - from }'
}

# The names among the arguments that are not installed.
missing_packages() {
  local installed
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
  local name
  for name in "$@"; do
    grep -qxF "installed $name" <<<"$installed" || echo "$name"
  done
}

as_root() {
  if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi
}

install_packages() {
  local missing optional=()
  mapfile -t missing < <(missing_packages "${PACKAGES[@]}")
  if $tests; then mapfile -t optional < <(missing_packages "${TEST_PACKAGES[@]}"); fi
  if ((${#missing[@]} + ${#optional[@]} == 0)); then
    note="all ${#PACKAGES[@]} there"
    return
  fi
  if ((EUID != 0)) && ! sudo -n true 2>/dev/null; then
    ((${#missing[@]} == 0)) && { note="without ${optional[*]}: that needs root"; return; }
    echo "got missing packages and no root; as root: apt-get install ${missing[*]}"
    return 2
  fi
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends
    -o Acquire::Retries=3 -o DPkg::Lock::Timeout=600)
  as_root "${apt[@]}" update || return
  as_root "${apt[@]}" install "${missing[@]}" "${optional[@]}" || return
  note="installed ${missing[*]} ${optional[*]}"
}

torch_works() {
  "$venv/bin/python" -c '
import sys, torch
sys.exit(0 if torch.__version__.split("+")[0] == sys.argv[1] and torch.ones(1).item() == 1 else 1)
' "$TORCH"
}

torch_stands() {
  [[ -f $stamp && -f $(echo "$venv"/lib/python3*/site-packages/torch/lib/libtorch.so) ]]
}

# The stamp is written last: an install that was cut off has none and is checked, then repaired.
install_torch() {
  local stamp=$venv/torch-$TORCH.installed
  note=$venv
  torch_stands && return
  mkdir -p "$(dirname "$venv")" || return
  exec 8>"$venv.lock" && flock 8 || return
  torch_stands && return  # another setup was at it
  if ! torch_works 2>/dev/null; then
    "$python" -m venv "$venv" || return
    local pip=("$venv/bin/python" -m pip --disable-pip-version-check install
      --no-cache-dir "torch==$TORCH")
    "${pip[@]}" || return
    torch_works || { "${pip[@]}" --force-reinstall && torch_works; } || return
    note="installed in $venv"
  fi
  touch "$stamp"
}

# Ninja runs CMake again by itself when the build's description changed.
configure() {
  local cache=$build/CMakeCache.txt fresh=()
  if [[ -f $build/build.ninja ]] &&
    grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$cache" &&
    grep -qE "^LIMBIC_VENV:[A-Z]+=$venv\$" "$cache" &&
    grep -qx 'LIMBIC_TESTS:BOOL=ON' "$cache"; then
    note="as it was"
    return
  fi
  if [[ -f $cache ]] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$cache"; then
    fresh=(--fresh)  # the clone was moved or copied
  fi
  cd "$root" || return
  cmake "${fresh[@]}" --preset release -DLIMBIC_VENV="$venv" -DLIMBIC_TESTS=ON || return
  note=$build
}

# One compile job takes up to 1.5 GB.
job_count() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/^MemAvailable:/ { print int($2 / 1572864) }' /proc/meminfo)
  echo "${LIMBIC_JOBS:-$((memory < 1 ? 1 : memory < cores ? memory : cores))}"
}

compile() {
  local target=limbic
  note=$build/limbic
  if $tests; then target=all note+=" and the tests"; fi
  export CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-10G}
  cmake --build "$build" --target "$target" --parallel "$(job_count)"
}

[[ $(uname -s) == Linux ]] || fail "got $(uname -s), want Linux (Debian 12)"
if $packages && ! { command -v apt-get && command -v dpkg-query; } >/dev/null; then
  fail "got a system without apt-get, want Debian 12; install what PACKAGES in this file names" \
    "and use --no-packages"
fi
mkdir -p "$logs" "$build"
exec 9>"$root/build/setup.lock"
flock 9
if $packages; then stage packages install_packages; fi
[[ -x $python ]] || fail "got no $python, want Python 3 with venv"
stage torch install_torch
stage configure configure
if $build_it; then stage build compile; fi
