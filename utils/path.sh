# Source in a recipe after $root is set: `ds2` comes from the environment that is active, else from the checkout's .venv.
command -v ds2 >/dev/null || PATH=$(cd "$root" && pwd)/.venv/bin:$PATH
command -v ds2 >/dev/null || { echo "$0: no ds2 on the PATH (make setup, then . .venv/bin/activate)" >&2; exit 2; }
export PATH
