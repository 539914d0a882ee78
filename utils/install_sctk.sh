#!/usr/bin/env bash
# Install NIST's sclite, sc_stats and rover: utils/install_sctk.sh [--if-possible] [BIN-DIR]   (default: tools/sctk/bin)
# The programs are those of Debian's package `sctk`, unpacked without root and without installing it; its Perl scripts come with them. Does
# nothing if sclite is on the PATH, in /usr/lib/sctk/bin (where the package has it) or already in BIN-DIR. With --if-possible a failure, such
# as a system without apt-get or a machine without network, is one line on standard error and exit status 0, as the tests need it.
set -euo pipefail
help="usage: $0 [--if-possible] [BIN-DIR]   (install NIST's sclite, sc_stats and rover; --if-possible: exit 0 without them if they cannot be downloaded)"
possible=no
if [[ ${1:-} == --if-possible ]]; then possible=yes; shift; fi
case ${1:-} in
  -h | --help) echo "$help"; exit 0 ;;
  -*) echo "$help" >&2; exit 2 ;;
esac
system=${SCTK_SYSTEM_BIN:-/usr/lib/sctk/bin}
root=$(cd "$(dirname "$0")/.." && pwd)
bin=${1:-$root/tools/sctk/bin}

for found in "$bin/sclite" "$(command -v sclite || true)" "$system/sclite"; do
  if [[ -n $found && -x $found ]]; then
    if [[ $possible == no ]]; then echo "sclite is already in ${found%/*}" >&2; fi
    exit 0
  fi
done

fail() {
  if [[ $possible == yes ]]; then echo "$0: without sclite ($1): the tests that need it are skipped" >&2; exit 0; fi
  echo "$0: $1" >&2; exit 1
}
for program in apt-get dpkg; do
  command -v $program > /dev/null || fail "$program not found: on other systems than Debian and Ubuntu, build github.com/usnistgov/SCTK and put its bin/ on the PATH"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# a user's own lists of packages, for a machine whose lists were never fetched or removed (containers) and which is not ours to change
apt_get() { timeout "${SCTK_TIMEOUT:-120}" apt-get -qq -o Acquire::Retries=0 -o Acquire::http::Timeout=20 "$@"; }
own_lists=(-o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o "Debug::NoLocking=1")
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/package"
cd "$work/package"
# apt-get gives root's downloads to the user _apt, who may not write here, and says so
apt_get download sctk > "$work/log" 2>&1 ||
  { apt_get "${own_lists[@]}" update && apt_get "${own_lists[@]}" download sctk; } >> "$work/log" 2>&1 ||
  fail "apt-get download sctk failed: $(tail -n 1 "$work/log")"
dpkg -x ./*.deb "$work/unpacked" > "$work/log" 2>&1 || fail "dpkg -x failed: $(tail -n 1 "$work/log")"
mkdir -p "$bin"
for file in "$work"/unpacked/usr/lib/sctk/bin/*; do
  name=${file##*/}
  install -m 755 "$file" "$bin/.$name.$$" && mv -f "$bin/.$name.$$" "$bin/$name"
done
[[ -x $bin/sclite ]] || fail "the package sctk has no usr/lib/sctk/bin/sclite"
echo "sclite, sc_stats and rover in $bin" >&2
