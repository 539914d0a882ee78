#!/usr/bin/env python3
"""Write a large manifest, to measure the commands that read them: python utils/big_manifest.py OUT --rows 1000000

Rows have an id, a path, a duration, a text and a speaker. The texts are the two halves of different transcripts of
LibriSpeech, or of made-up words where ../shared/data is missing, so most of them differ. There are no recordings.
The same options give the same rows.

With --features each row also has `feats` and `num_frames`: real compressed matrices in a few archives next to OUT, each
behind the id of its row. All have --frames frames, and the texts are cut so that their labels fit.

    python utils/big_manifest.py build/big/train.jsonl --rows 10000000 --features --archives 4
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import random
import sys
import tempfile
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

SPEAKERS = 5000
MATRICES = 64
"""Distinct matrices; the rows take them in turn."""

CHARACTERS_PER_SECOND = 14.5
FRAMES_PER_CHARACTER = 4
"""At least, with --features: the labels fit into the steps of a network of stride 2, also those that repeat."""

TRANSCRIPTS = Path(__file__).parents[2] / "shared/data/text/librispeech-train-clean-100.trans.txt.gz"


def make_texts(rng: random.Random) -> list[str]:
    """Texts without characters that JSON escapes."""
    if TRANSCRIPTS.is_file():
        with gzip.open(TRANSCRIPTS, "rt", encoding="utf-8") as f:
            # a quotation mark at the edge of a word is not normalized
            return [" ".join(word.strip("'") for word in line.lower().split()[1:]) for line in f]
    words = make_words(20000, rng)
    # Zipf's law
    weights = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))
    return [" ".join(rng.choices(words, cum_weights=weights, k=rng.randint(4, 40))) for _ in range(20000)]


def make_words(number: int, rng: random.Random) -> list[str]:
    """Distinct words, the frequent ones short."""
    syllables = [consonant + vowel for consonant in "bdfghklmnprstvwz" for vowel in "aeiou"]
    words: dict[str, None] = {}
    while len(words) < number:
        words["".join(rng.choices(syllables, k=1 + rng.randrange(1 + len(words).bit_length() // 3)))] = None
    return list(words)


def halve(text: str) -> tuple[str, str]:
    """The text in two parts, between words, with the space in the second."""
    middle = text.find(" ", len(text) // 2)
    return (text, "") if middle < 0 else (text[:middle], text[middle:])


def cut(text: str, most: int) -> str:
    """The first words of a text, at most `most` characters; a longer first word is cut."""
    return text if len(text) <= most else text[: max(text.rfind(" ", 0, most + 1), 0) or most].strip()


def make_rows(number: int, seed: int = 1, features: Features | None = None) -> Iterator[str]:
    """Lines of a manifest, sorted by id."""
    rng = random.Random(seed)
    halves = [halve(text) for text in make_texts(rng)]
    starts, ends = [a for a, _ in halves], [b for _, b in halves]
    rates = [CHARACTERS_PER_SECOND * rng.uniform(0.8, 1.25) for _ in range(997)]
    # steps that have no divisor in common with the number of texts go through all pairs of halves
    step = next(n for n in range(len(halves) // 2, 2 * len(halves)) if n % 2 and len(halves) % n and n % 5 and n % 3)
    per_speaker = -(-number // SPEAKERS)
    at, other = rng.randrange(len(halves)), rng.randrange(len(halves))
    for i in range(number):
        speaker = f"s{i // per_speaker:05}"
        at, other = (at + step) % len(starts), (other + 7 + (i % len(starts) == 0)) % len(starts)
        text, name = starts[at] + ends[other], f"{speaker}-{i:09}"
        if features is None:
            duration, more = len(text) / rates[i % 997] + 0.4, ""
        else:
            text, duration = cut(text, features.frames // FRAMES_PER_CHARACTER), features.frames / 100
            more = f',"feats":"{features.write(i, number, name)}","num_frames":{features.frames}'
        yield (
            f'{{"id":"{name}","audio_filepath":"audio/{speaker}/{i:09}.flac","duration":{round(duration, 2)!r},'
            f'"text":"{text}","speaker":"{speaker}"{more}}}\n'
        )


class Features:
    """Archives of compressed matrices next to OUT, of consecutive rows each.

    archives: their number.  frames, bins: the size of the matrices.
    """

    def __init__(self, out: Path, archives: int, frames: int, bins: int, seed: int) -> None:
        self.frames = frames
        self._stem = f"{out.name.removesuffix('.gz').removesuffix('.jsonl')}"
        self._folder, self._archives, self._number = out.parent / "feats", archives, -1
        self._folder.mkdir(parents=True, exist_ok=True)
        self._matrices = encode_matrices(frames, bins, seed)
        self._file: BinaryIO | None = None
        self._size = 0

    def write(self, i: int, rows: int, name: str) -> str:
        """Write the matrix of row i; returns its `path:byte` from the folder of OUT."""
        number = i * self._archives // rows
        if number != self._number or self._file is None:
            self.close()
            self._number, self._size = number, 0
            self._file = (self._folder / f"{self._stem}.{number + 1}.ark").open("wb")
        start = self._size + len(name) + 1
        self._size += self._file.write(name.encode() + b" " + self._matrices[i % MATRICES])
        return f"feats/{self._stem}.{number + 1}.ark:{start}"

    def close(self) -> None:
        """Complete the archive."""
        if self._file is not None:
            self._file.close()


def encode_matrices(frames: int, bins: int, seed: int) -> list[bytes]:
    """Random matrices as they stand in an archive, after the id."""
    import numpy as np

    from ds2cli.archive import ArkWriter

    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.ark")
        with ArkWriter(path, compress=True) as ark:
            refs = [ark.write("m", rng.standard_normal((frames, bins)).astype(np.float32)) for _ in range(MATRICES)]
        data = path.read_bytes()
    starts = [int(ref.rpartition(":")[2]) for ref in refs]
    return [data[a : b - len("m ")] for a, b in zip(starts, [*starts[1:], len(data) + len("m ")], strict=True)]


def main() -> None:
    """Parse the arguments, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", help="manifest to write (.gz: compressed); - is standard output")
    parser.add_argument("--rows", type=int, default=1_000_000, help="number of rows [default: 1000000]")
    parser.add_argument("--seed", type=int, default=1, help="seed of the texts, durations and matrices [default: 1]")
    parser.add_argument("--shuffle", action="store_true", help="write the rows in random order")
    parser.add_argument("--features", action="store_true", help="also write archives, to feats/ next to OUT")
    parser.add_argument("--archives", type=int, default=4, help="number of archives [default: 4]")
    parser.add_argument("--frames", type=int, default=20, help="frames of each matrix [default: 20]")
    parser.add_argument("--bins", type=int, default=8, help="bins of each matrix [default: 8]")
    options = parser.parse_args()
    if options.features and options.out == "-":
        parser.error("--features needs a file OUT")
    features = None
    if options.out != "-":
        Path(options.out).parent.mkdir(parents=True, exist_ok=True)
    if options.features:
        out = Path(options.out)
        features = Features(out, min(options.archives, options.rows), options.frames, options.bins, options.seed)
    rows = make_rows(options.rows, options.seed, features)
    if options.shuffle:
        rows = iter(sorted(rows, key=lambda _, rng=random.Random(options.seed): rng.random()))
    if options.out == "-":
        opened = contextlib.nullcontext(sys.stdout)
    elif options.out.endswith(".gz"):
        opened = gzip.open(options.out, "wt", compresslevel=1, encoding="utf-8")  # noqa: SIM115
    else:
        opened = Path(options.out).open("w", encoding="utf-8")  # noqa: SIM115
    with opened as f:
        f.writelines(rows)
    if features is not None:
        features.close()


if __name__ == "__main__":
    main()
