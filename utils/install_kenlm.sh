#!/usr/bin/env bash
# Build KenLM's lmplz, build_binary and query: utils/install_kenlm.sh [--if-possible] [BIN-DIR]   (default: tools/kenlm/bin)
# The source is the `kenlm` distribution on PyPI. Needs a C++ compiler, cmake, zlib and Boost: on Debian and Ubuntu, missing packages are
# installed (as root); elsewhere they are listed. Takes about three minutes on one core; JOBS=4 uses four. Does nothing if already installed.
# The programs are kept in ~/.cache/ds2cli/kenlm-VERSION-MACHINE, from which other clones copy them. With --if-possible nothing is installed
# with apt-get, and a failure is one line on standard error and exit status 0, as the tests need it.
set -euo pipefail
help="usage: $0 [--if-possible] [BIN-DIR]   (build KenLM's lmplz, build_binary and query; JOBS=N compiles with N processes, PYTHON=… selects a Python with pip; --if-possible: install no packages, and exit 0 without the programs if they cannot be built)"
if [[ ${1:-} == --if-possible ]]; then
  status=0
  "$BASH" "$0" --no-packages "${@:2}" || status=$?
  if ((status)); then echo "$0: without KenLM's programs: the tests that need them are skipped" >&2; fi
  exit 0
fi
packages=yes
if [[ ${1:-} == --no-packages ]]; then packages=no; shift; fi
case ${1:-} in
  -h | --help) echo "$help"; exit 0 ;;
  -*) echo "$help" >&2; exit 2 ;;
esac
version=0.3.0
root=$(cd "$(dirname "$0")/.." && pwd)
bin=${1:-$root/tools/kenlm/bin}
programs=(lmplz build_binary query)

installed=yes
for p in "${programs[@]}"; do [[ -x $bin/$p ]] || installed=no; done
if [[ $installed == yes ]]; then
  if [[ $packages == yes ]]; then echo "KenLM is already in $bin" >&2; fi
  exit 0
fi

cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/ds2cli/kenlm-$version-$HOSTTYPE
# a program that was built on another system may not start here: lmplz explains its options, build_binary its arguments
starts() { [[ -x $cache/lmplz && -x $cache/query && $("$cache/lmplz" --help 2>&1) == *--order* && $("$cache/build_binary" 2>&1) == *sage* ]]; }
install_from() { # FROM TO: copy the programs, each under its name only when complete
  mkdir -p "$2"
  for p in "${programs[@]}"; do install -m 755 "$1/$p" "$2/.$p.$$" && mv -f "$2/.$p.$$" "$2/$p"; done
}
if starts; then
  install_from "$cache" "$bin"
  echo "KenLM $version: ${programs[*]} copied from $cache to $bin" >&2
  exit 0
fi

python=${PYTHON:-}
for candidate in "$root/.venv/bin/python" python3; do
  if [[ -z $python ]] && "$candidate" -m pip --version > /dev/null 2>&1; then python=$candidate; fi
done
[[ -n $python ]] || { echo "$0: no Python with pip found (make setup, or PYTHON=/path/to/python $0)" >&2; exit 1; }

missing=()
command -v c++ > /dev/null || missing+=(g++)
command -v make > /dev/null || missing+=(make)
command -v cmake > /dev/null || missing+=(cmake)
has_header() { echo "#include <$1>" | c++ -E -x c++ - > /dev/null 2>&1; }
has_header zlib.h || missing+=(zlib1g-dev)
has_header boost/program_options.hpp || missing+=(libboost-program-options-dev)
has_header boost/system/error_code.hpp || missing+=(libboost-system-dev)
has_header boost/thread.hpp || missing+=(libboost-thread-dev)
has_header boost/test/unit_test.hpp || missing+=(libboost-test-dev)
if ((${#missing[@]})); then
  if [[ $packages == no ]]; then
    echo "$0: missing packages (Debian names): ${missing[*]}" >&2; exit 1
  elif ! command -v apt-get > /dev/null; then
    echo "$0: missing packages (Debian names): ${missing[*]} (install them with your package manager, then run this again)" >&2; exit 1
  elif [[ $(id -u) != 0 ]]; then
    echo "$0: missing Debian packages (sudo apt-get install -y --no-install-recommends ${missing[*]})" >&2; exit 1
  fi
  echo "installing ${missing[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq install -y --no-install-recommends "${missing[@]}" > /dev/null 2>&1 ||
    { apt-get -qq update && apt-get -qq install -y --no-install-recommends "${missing[@]}" > /dev/null; }
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "$0: $1 failed, last lines of its log:" >&2; tail -n 20 "$work/log" >&2; exit 1; }
echo "building KenLM $version in $work: about three minutes on one core" >&2
"$python" -m pip download -q --no-deps --no-binary kenlm -d "$work" "kenlm==$version" > "$work/log" 2>&1 || fail "pip download kenlm==$version"
tar -xzf "$work/kenlm-$version.tar.gz" -C "$work"
# CMake 4 refuses projects that require a version below 3.5, as two folders of the distribution do, unless this policy is set.
cmake -S "$work/kenlm-$version" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_POLICY_VERSION_MINIMUM=3.5 \
  -DENABLE_INTERPOLATE=OFF > "$work/log" 2>&1 || fail cmake
cmake --build "$work/build" -j "${JOBS:-1}" --target "${programs[@]}" > "$work/log" 2>&1 || fail "the compiler"
install_from "$work/build/bin" "$bin"
(install_from "$bin" "$cache") 2> /dev/null || echo "$0: $cache is not writable: the next clone builds KenLM again" >&2
echo "KenLM $version: ${programs[*]} in $bin" >&2
