"""What is kept of a constructed recording after each step, and how many errors its text has: a table in Markdown.

usage: long_table.py TRUTH.jsonl CLIPS.aligned.jsonl STEP=MANIFEST …

TRUTH is that of make_long.py, CLIPS are the clips with the times of their true words. MANIFEST has the aligned
recording or segments of it. A word was said in a segment if its middle lies there; so the WER is that of the text of
the segments against what was said in them. Good speech is that of the clips whose text is right in the transcript.
"""

import sys
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from ds2cli import manifest
from ds2cli.metrics.alignment import align_words

PARTS = "train", "dev", "test"


@dataclass
class Piece:
    """A part of the recording (s), the text that a step gives it, and what was said there."""

    start: float
    end: float
    text: str
    said: str = ""
    part: str = ""


def read_pieces(path: str) -> Iterator[Piece]:
    """The segments of a manifest; of an aligned recording, what is between its gaps."""
    for row in manifest.read(path):
        if "recording" in row:
            yield Piece(row["offset"], row["offset"] + row["duration"], row["text"])
            continue
        gaps = [(gap["start"], gap["end"]) for gap in row.get("gaps", ())]
        middles = [sum(gap) / 2 for gap in gaps]
        words: list[list[str]] = [[] for _ in range(len(gaps) + 1)]
        for word in row["words"]:
            words[bisect(middles, (word["start"] + word["end"]) / 2)].append(word["word"])
        for (before, after), text in zip(pairwise([(0, 0), *gaps, (row["duration"],) * 2]), words, strict=True):
            yield Piece(before[1], max(before[1], after[0]), " ".join(text))


def add_truth(pieces: list[Piece], truth: list[dict], times: dict[str, list[dict]]) -> list[Piece]:
    """The pieces in which something was said or written, with what was said, and the part of the corpus it is of."""
    said = [
        (row["start"] + (word["start"] + word["end"]) / 2 / row["speed"], word["word"])
        for row in truth
        if row["text"]
        for word in times[row["clip"]]
    ]
    middles, starts = [middle for middle, _ in said], [row["start"] for row in truth]
    for piece in pieces:
        words = said[bisect(middles, piece.start) : bisect(middles, piece.end)]
        piece.said = " ".join(word for _, word in words)
        piece.part = truth[max(0, bisect(starts, (piece.start + piece.end) / 2) - 1)]["split"]
    return [piece for piece in pieces if piece.said or piece.text]


def word_error_rate(pieces: list[Piece]) -> float:
    """The rate of all pieces together (percent)."""
    return align_words([piece.said for piece in pieces], [piece.text for piece in pieces]).total().rate


def good_share(pieces: list[Piece], truth: list[dict]) -> float:
    """The share of the seconds of good speech that lies in pieces, which do not overlap (percent)."""
    ends, kept, total = [piece.end for piece in pieces], 0.0, 0.0
    for row in truth:
        if row["kind"]:
            continue
        total += row["end"] - row["start"]
        for piece in pieces[bisect(ends, row["start"]) :]:
            if piece.start >= row["end"]:
                break
            kept += min(piece.end, row["end"]) - max(piece.start, row["start"])
    return 100 * kept / total if total else 0.0


def describe(name: str, pieces: list[Piece], truth: list[dict]) -> str:
    """The line of a step."""
    if not pieces:
        return line([name, "0", *["-"] * 5])
    lengths = [piece.end - piece.start for piece in pieces]
    parts = [part for part in PARTS if any(row["split"] == part for row in truth)]
    of_parts = [
        ([piece for piece in pieces if piece.part == part], [row for row in truth if row["split"] == part])
        for part in parts
    ]
    shares = ", ".join(f"{good_share(pieces, rows):.1f}" for _, rows in of_parts)
    rates = ", ".join(f"{word_error_rate(found):.2f}" if found else "-" for found, _ in of_parts)
    right = 100 * sum(piece.said == piece.text for piece in pieces) / len(pieces)
    mean = sum(lengths) / len(lengths)
    cells = [
        *(name, str(len(pieces)), f"{sum(lengths) / 3600:.2f}", f"{mean:.1f} ({min(lengths):.1f}-{max(lengths):.1f})"),
        f"{right:.1f}",
        f"{good_share(pieces, truth):.1f} ({shares})",
        f"{word_error_rate(pieces):.2f} ({rates})",
    ]
    return line(cells)


def line(cells: list[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Print the table."""
    truth_path, clips_path, *steps = sys.argv[1:]
    truth = sorted(manifest.read(truth_path), key=lambda row: row["start"])
    times = {row["id"]: row["words"] for row in manifest.read(clips_path)}
    speech, good = (
        sum(row["end"] - row["start"] for row in rows) / 3600 for rows in (truth, [r for r in truth if not r["kind"]])
    )
    parts = ", ".join(part for part in PARTS if any(row["split"] == part for row in truth))
    sys.stdout.write(f"{speech:.2f} h of speech, {good:.2f} h of it with the right text ({parts})\n\n")
    header = ["step", "pieces", "h", "mean length (range), s", "right texts, %"]
    header += [f"good speech kept, % ({parts})", f"WER, % ({parts})"]
    sys.stdout.write(line(header) + line([":--"] + ["--:"] * (len(header) - 1)))
    clips = [Piece(row["start"], row["end"], row["transcript"], row["text"], row["split"]) for row in truth]
    sys.stdout.write(describe("transcript", clips, truth))
    for step in steps:
        name, _, path = step.rpartition("=")
        sys.stdout.write(describe(name, add_truth(list(read_pieces(path)), truth, times), truth))


if __name__ == "__main__":
    main()
