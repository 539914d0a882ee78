"""Print the first recordings of a manifest that exist and are whole files: recordings.py ROWS NUMBER."""

import os
import sys
from itertools import islice

from ds2cli import manifest, ui

rows = manifest.read(sys.argv[1])
paths = (row["audio_filepath"] for row in rows if "offset" not in row and os.path.isfile(row.get("audio_filepath", "")))
for path in islice(dict.fromkeys(paths), int(sys.argv[2])):
    ui.echo(path)
