# Source this file after setting $root: puts `ds2` on the PATH, from the active environment or else from the .venv of the checkout.
command -v ds2 >/dev/null || PATH=$(cd "$root" && pwd)/.venv/bin:$PATH
command -v ds2 >/dev/null || { echo "$0: no ds2 on the PATH (make setup, then . .venv/bin/activate)" >&2; exit 2; }
export PATH
