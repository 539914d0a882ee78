"""Write a table of the Free Spoken Digit Dataset, for run.sh --audio: fsdd.py FOLDER OUT.csv.

FOLDER has {digit}_{speaker}_{index}.wav, such as 7_jackson_3.wav.
"""

import csv
import sys
from pathlib import Path

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

folder, out = map(Path, sys.argv[1:])
with out.open("w", encoding="utf-8", newline="") as f:
    table = csv.writer(f)
    table.writerow(("path", "sentence", "speaker"))
    for file in sorted(folder.glob("*_*_*.wav")):
        digit, speaker, _ = file.stem.split("_")
        table.writerow((file.resolve(), WORDS[int(digit)], speaker))
