"""Whether a text of a manifest has more than one word: has_spaces.py ROWS exits with 0 if so, else with 1."""

import sys

from ds2cli import manifest

sys.exit(not any(" " in row.get("text", "").strip() for row in manifest.read(sys.argv[1])))
