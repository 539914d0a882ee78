#!/usr/bin/env python3
"""Exit with 0 if an output of a command is fresh, and was made by this very command.

utils/is_fresh.py ds2 emit EXP IN OUT …

`ds2 status OUT --check` alone does not know with which options OUT is wanted now. Recipes ask before they submit a job,
which would otherwise wait in a queue to find that there is nothing to do.
"""

import shlex
import sys
from pathlib import Path

from ds2cli.errors import Ds2Error
from ds2cli.provenance import read_record
from ds2cli.stages.status import Checker

TUNED = ("decode.toml", "align.toml", "filter.toml")
"""Files that commands write to an experiment which they are given."""


def is_fresh(command: list[str]) -> bool:
    """Whether one of the words of a command names an output that it has made, and that is fresh."""
    # torchrun and the like start it, and its record begins with `ds2`
    words = command[command.index("ds2") :] if "ds2" in command else command
    for word in words[1:]:
        for out in (word, *(str(Path(word, name)) for name in TUNED)):
            record = read_record(out)
            if record is not None and _significant(shlex.split(str(record.get("command", "")))) == _significant(words):
                status = Checker().check(out)
                return status is not None and status.state == "fresh"
    return False


def _significant(words: list[str]) -> list[str]:
    return [word for word in words if word != "--if-stale"]


if __name__ == "__main__":
    try:
        sys.exit(0 if is_fresh(sys.argv[1:]) else 1)
    except (Ds2Error, OSError, ValueError):
        # what cannot be read is reported by the command itself
        sys.exit(1)
