"""Construct a stereo telephone call from the clips of the corpus: two sides that talk by turns, one on each channel.

usage: make_call.py CLIPS.jsonl OUT [--turns 8]

OUT/wav/call.wav   the call
OUT/turns.csv      a line per turn: the recording, the side (A or B), where it begins, how long it is (s), and its text
"""

import argparse
import csv
import itertools
from pathlib import Path

PAUSE_S = 0.3


def main() -> None:
    """Read the clips, and write the call and the table."""
    import numpy as np
    import soundfile

    from ds2cli import manifest
    from ds2cli.audio.recording import parse_recording, read_samples

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("clips", metavar="CLIPS.jsonl")
    options.add_argument("out", metavar="OUT", type=Path)
    options.add_argument("--turns", type=int, default=8)
    args = options.parse_args()

    rows = list(itertools.islice(manifest.read(args.clips, ("audio_filepath", "text", "duration")), args.turns))
    rate = rows[0]["sample_rate"]
    (args.out / "wav").mkdir(parents=True, exist_ok=True)
    parts = []
    with (args.out / "turns.csv").open("w", encoding="utf-8", newline="") as f:
        table = csv.writer(f, lineterminator="\n")
        table.writerow(["path", "channel", "offset", "duration", "text"])
        begin = 0
        for row, side in zip(rows, itertools.cycle("AB")):
            samples = read_samples(parse_recording(row), rate)
            both = np.zeros((len(samples) + round(PAUSE_S * rate), 2), np.float32)
            both[: len(samples), "AB".index(side)] = samples
            parts.append(both)
            table.writerow(["call.wav", side, begin / rate, len(samples) / rate, row["text"]])
            begin += len(both)
    soundfile.write(args.out / "wav/call.wav", np.concatenate(parts), rate)


if __name__ == "__main__":
    main()
