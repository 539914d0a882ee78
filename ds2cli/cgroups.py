"""The control groups of this process: where Linux keeps the limits of containers; none on other systems."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def find_folders(controller: str) -> Iterator[tuple[Path, int]]:
    """The folders that may have limits of a controller, such as `cpu`, and their version of control groups: 1 or 2.

    A group and all those that it is in, which limit it, too.
    """
    try:
        lines = MEMBERSHIP.read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # version 2 has one hierarchy, version 1 one per controller; a container may see only the top of its own
        group = Path(path.strip("/"))
        for part in (group, *group.parents):
            yield ROOT / (controller if controllers else "") / part, 1 if controllers else 2
