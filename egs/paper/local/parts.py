"""Nested parts of a training set, and its recordings under other names.

usage: parts.py nested TRAIN.jsonl PERCENT OUT.ids   ids of a part, of all copies of its utterances; prints its hours
       parts.py copies TRAIN.jsonl FOLDER SUFFIX OUT.jsonl   rows of the recordings that `ds2 data augment` wrote there

Utterances are drawn in the order of a hash of their id, so that a smaller part lies in every larger one and all copies
of an utterance are in the same parts. Hours count each utterance once.
"""

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

from ds2cli import manifest
from ds2cli.manifest import Row

COPY = "~"
"""Between the id of an utterance and the suffix of a copy of it."""


def original(name: str) -> str:
    """The id of the utterance that a copy was made of."""
    return name.rpartition(COPY)[0] or name


def draw(seconds: dict[str, float], percent: float) -> list[str]:
    """Ids of the utterances of a part: the first in hash order whose sum of durations reaches PERCENT of all."""
    order = sorted(seconds, key=lambda name: hashlib.sha256(name.encode()).digest())
    wanted, chosen, total = sum(seconds.values()) * percent / 100, [], 0.0
    for name in order:
        if total >= wanted:
            break
        chosen.append(name)
        total += seconds[name]
    return chosen


def nested(path: str, percent: float, out: str) -> float:
    """Write the ids of a part; returns its hours."""
    seconds: dict[str, float] = {}
    copies: dict[str, list[str]] = {}
    for row in manifest.read(path):
        name = original(row["id"])
        seconds.setdefault(name, row["duration"])
        copies.setdefault(name, []).append(row["id"])
    chosen = draw(seconds, percent)
    Path(out).write_text("".join(f"{copy}\n" for name in chosen for copy in copies[name]), "utf-8")
    return sum(seconds[name] for name in chosen) / 3600


def renamed(rows: Iterable[Row], folder: str, suffix: str) -> Iterable[Row]:
    """The rows with the recordings of FOLDER, whose durations are read from them, and ids with the suffix."""
    import soundfile

    for row in rows:
        path = Path(folder).resolve() / (row["id"].replace("/", "_") + ".wav")
        if path.exists():
            about = soundfile.info(path)
            changed = {"id": f"{row['id']}{COPY}{suffix}", "audio_filepath": str(path), "sample_rate": about.samplerate}
            kept = {key: value for key, value in row.items() if key != "offset"}
            yield {**kept, **changed, "duration": about.frames / about.samplerate}


def main() -> None:
    """Run a command."""
    what, path, *rest = sys.argv[1:]
    if what == "nested":
        sys.stdout.write(f"{nested(path, float(rest[0]), rest[1]):.4f}\n")
    else:
        folder, suffix, out = rest
        rows = sorted(renamed(manifest.read(path), folder, suffix), key=lambda row: row["id"])
        manifest.write(out, rows)


if __name__ == "__main__":
    main()
