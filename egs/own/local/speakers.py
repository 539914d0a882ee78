"""How `ds2 prepare folder` finds speakers: speakers.py FOLDER auto|none|folder|REGEX prints its --speaker, or nothing.

auto: `folder` if all recordings are in subfolders, and there are at least two of them.
"""

import sys

from ds2cli import ui
from ds2cli.audio.find import find_audio
from ds2cli.errors import Ds2Error

MOST_SHOWN = 5


def main(folder: str, rule: str) -> None:
    """Print the rule, and what it is on standard error."""
    if rule != "auto":
        ui.echo("" if rule == "none" else rule)
        return
    try:
        recordings, _ = find_audio(folder)
    except Ds2Error as e:
        sys.exit(f"egs/own/run.sh: {e}")
    parts = [recording.path.relative_to(folder).parts for recording in recordings]
    subfolders = sorted({path[0] for path in parts if len(path) > 1})
    if len(subfolders) > 1 and all(len(path) > 1 for path in parts):
        more = f" and {len(subfolders) - MOST_SHOWN} more" if len(subfolders) > MOST_SHOWN else ""
        names = ", ".join(subfolders[:MOST_SHOWN])
        ui.log(f"speakers: the subfolders {names}{more} (--speaker none if they are not)")
        ui.echo("folder")
    else:
        ui.log("speakers: unknown (put their recordings in a subfolder each, or --speaker REGEX)")


main(*sys.argv[1:])
