"""List the utterances with faults, not those with warnings only: faulty_ids.py FAULTS.jsonl OUT writes their ids.

FAULTS.jsonl is what `ds2 data validate --report` writes.
"""

import json
import sys
from pathlib import Path

from ds2cli import ui

faults, out = sys.argv[1:]
rows = [json.loads(line) for line in Path(faults).read_text("utf-8").splitlines()]
found = sorted({row["id"] for row in rows if row["severity"] == "fault" and row.get("id")})
Path(out).write_text("".join(f"{name}\n" for name in found), "utf-8")
ui.log(f"{len(found)} utterances with faults are left out" if found else "no utterance has a fault")
