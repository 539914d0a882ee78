#!/usr/bin/env bash
# Stop early, in one line, where the set-up cannot work: utils/check_python.sh python3
set -euo pipefail
python=${1:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
  { echo "$python: ds2cli needs Python 3.11 or later (make PYTHON=python3.12 …)" >&2; exit 1; }
"$python" -c 'import venv, ensurepip' 2>/dev/null && exit 0
[[ $(id -u) -eq 0 ]] || { echo "$python has no venv module: run  sudo apt-get install python3-venv  and try again" >&2; exit 1; }
apt-get install -qq -y python3-venv >/dev/null
