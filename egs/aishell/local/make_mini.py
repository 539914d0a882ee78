"""Arrange Mandarin recordings and their texts in the layout of AISHELL-1, for `run.sh --mini true` or your own corpus.

usage: make_mini.py SOURCE OUT

SOURCE  a folder with a text file next to each recording, as for `ds2 prepare folder`, or a table (CSV, TSV, JSON), as
        for `ds2 prepare csv`. Speakers are those of a column `speaker`, of ids such as BAC009S0150W0001, or else the
        subfolders.
OUT     gets wav/{train,dev,test}/SPEAKER/ID.wav (16 kHz, 16 bits) and transcript/aishell_transcript_v0.8.txt.

The parts are chosen by hashes, so they never change: whole speakers as in AISHELL-1, or, if that leaves a part empty,
texts: then dev and test have known speakers, but no text of the training part.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

RATE = 16000
PARTS = ("train", "dev", "test")
NAME = re.compile(r"BAC009(S\d{4})W\d{4}")
"""The names of AISHELL's recordings; the group is the speaker."""


def read_rows(source: Path) -> list[dict[str, Any]]:
    """The rows of a folder or a table, with their texts as they are."""
    from ds2cli import manifest

    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/rows.jsonl"
        command = ["prepare", "folder" if source.is_dir() else "csv", str(source), out]
        options = ["--text-rules", "keep", "--check", "header"]
        if status := subprocess.run([sys.executable, "-m", "ds2cli", *command, *options], check=False).returncode:
            sys.exit(status)
        rows = list(manifest.read(out, ("audio_filepath", "text")))
    for row in rows:
        row["speaker"] = find_speaker(row, source)
    return rows


def find_speaker(row: dict[str, Any], source: Path) -> str:
    """The speaker of a row; S0000 for all rows without one."""
    named, path = NAME.fullmatch(row["id"]), Path(row["audio_filepath"])
    folders = path.parent.resolve().relative_to(source.resolve()).parts if source.is_dir() else ()
    speaker = row.get("speaker") or (named and named.group(1)) or "-".join(folders) or "S0000"
    return re.sub(r"[^\w-]", "_", speaker)


def assign_parts(rows: list[dict[str, Any]]) -> list[str]:
    """The part of each row; all rows of a speaker are in one part, or all rows of a text."""
    from ds2cli.corpora._split import assign_split

    keys: list[Callable[[dict[str, Any]], str]] = [lambda row: row["speaker"], lambda row: "".join(row["text"].split())]
    for what, key in zip(("speakers", "texts"), keys, strict=True):
        parts = [assign_split(key(row)) for row in rows]
        if set(parts) == set(PARTS):
            sys.stderr.write(f"make_mini.py: {len(set(map(key, rows)))} {what} are divided between the parts\n")
            return parts
    sys.exit(f"make_mini.py: {len(rows)} recordings are too few for a train, a dev and a test part (give more)")


def main() -> None:
    """Write the recordings and the list of their texts."""
    import soundfile

    from ds2cli.audio.recording import parse_recording, read_samples

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("source", metavar="SOURCE", type=Path)
    options.add_argument("out", metavar="OUT", type=Path)
    args = options.parse_args()
    texts = args.out / "transcript/aishell_transcript_v0.8.txt"
    if args.out.exists() and any(args.out.iterdir()):
        sys.exit(f"make_mini.py: {args.out} is not empty (give another folder, or remove it)")
    rows = read_rows(args.source)
    seconds, lines = dict.fromkeys(PARTS, 0.0), []
    for row, part in zip(rows, assign_parts(rows), strict=True):
        folder = args.out / "wav" / part / row["speaker"]
        folder.mkdir(parents=True, exist_ok=True)
        samples = read_samples(parse_recording(row), RATE)
        soundfile.write(folder / f"{row['id']}.wav", samples, RATE, "PCM_16")
        lines.append(f"{row['id']} {' '.join(row['text'].split())}\n")
        seconds[part] += len(samples) / RATE
    texts.parent.mkdir(parents=True)
    texts.write_text("".join(lines), "utf-8")
    lengths = ", ".join(f"{part} {seconds[part] / 60:.1f} min" for part in PARTS)
    sys.stderr.write(f"make_mini.py: {len(rows)} recordings: {lengths}\n")


if __name__ == "__main__":
    main()
