#!/usr/bin/env bash
# Check that this Python can create the virtual environment, and install its venv module if possible: utils/check_python.sh python3
set -euo pipefail
python=${1:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
  { echo "$python: ds2cli needs Python 3.11 or later (make PYTHON=python3.12 …)" >&2; exit 1; }
"$python" -c 'import venv, ensurepip' 2>/dev/null && exit 0
package=python3-venv
if ! command -v apt-get >/dev/null; then
  echo "$python has no venv module (install it with your package manager; Debian calls it $package)" >&2; exit 1
elif [[ $(id -u) -ne 0 ]]; then
  echo "$python has no venv module (sudo apt-get install $package)" >&2; exit 1
fi
# a fresh container has no package lists yet
apt-get install -qq -y "$package" >/dev/null 2>&1 || { apt-get update -qq && apt-get install -qq -y "$package" >/dev/null; }
