"""Print what the installed ds2cli needs to serve: its requirements with the extra `serve`, without torch."""

import sys
from importlib.metadata import requires

for line in requires("ds2cli") or []:
    requirement, _, condition = line.partition(";")
    if not requirement.startswith("torch") and condition.strip() in ("", 'extra == "serve"', "extra == 'serve'"):
        sys.stdout.write(f"{requirement.strip()}\n")
