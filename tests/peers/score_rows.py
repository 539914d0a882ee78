"""The rows of bench_score.py: the texts, and one scorer in a process of its own.

    python score_rows.py make FOLDER TEXT UTTS            write the texts
    python score_rows.py repeat FOLDER UTTS               write rowsUTTS.jsonl, which repeats them
    python score_rows.py measure FOLDER NAME              score them once, and print the result as JSON

A scorer is f(refs, hyps) -> (hits, substitutions, insertions, deletions), or its number of errors alone.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import metadata
from itertools import cycle, islice
from pathlib import Path
from typing import Any

MAX_WORDS = 26
"""Longer sentences are left out, so that 50,000 of the default text have 650,000 words."""
SUBSTITUTED, DELETED, INSERTED = 0.09, 0.03, 0.03
"""Share of the reference words with each kind of error; 15 % in all."""
WARM_UP = 500
"""Utterances that are scored before the measured run."""

Scorer = Callable[[list[str], list[str]], Any]


def make(folder: Path, text: Path, utts: int) -> None:
    """Write utterances of a text and their hypotheses: ref.txt and hyp.txt, rows.jsonl, ref.trn and hyp.trn.

    one.jsonl has only the first.
    """
    with gzip.open(text, "rt", encoding="utf-8") if text.suffix == ".gz" else text.open(encoding="utf-8") as f:
        sentences = [line.split() for line in f]
    refs = list(islice(cycle([words for words in sentences if 0 < len(words) <= MAX_WORDS]), utts))
    spoken, rng = [word for words in refs for word in words], random.Random(15)

    def garble(words: list[str]) -> Iterator[str]:
        for word in words:
            chance = rng.random()
            if chance < SUBSTITUTED:
                yield rng.choice(spoken)
            elif chance < SUBSTITUTED + INSERTED:
                yield from (word, rng.choice(spoken))
            elif chance >= SUBSTITUTED + INSERTED + DELETED:
                yield word

    pairs = [(" ".join(words), " ".join(garble(words))) for words in refs]
    for name, side in (("ref", 0), ("hyp", 1)):
        (folder / f"{name}.txt").write_text("".join(f"{pair[side]}\n" for pair in pairs), "utf-8")
        lines = (f"{pair[side]} (s-{i:07})\n" for i, pair in enumerate(pairs))
        (folder / f"{name}.trn").write_text("".join(lines), "utf-8")
    write_rows(folder / "rows.jsonl", pairs, len(pairs))
    write_rows(folder / "one.jsonl", pairs, 1)


def write_rows(path: Path, pairs: list[tuple[str, str]], count: int) -> None:
    """A manifest of `count` rows, which repeat the pairs of reference and hypothesis."""
    with path.open("w", encoding="utf-8") as f:
        for i, (ref, hyp) in enumerate(islice(cycle(pairs), count)):
            f.write(json.dumps({"id": f"s-{i:07}", "duration": 5.0, "text": ref, "pred_text": hyp}) + "\n")


def read_pairs(folder: Path) -> list[tuple[str, str]]:
    """The references and hypotheses that `make` wrote."""
    refs, hyps = ((folder / f"{name}.txt").read_text("utf-8").split("\n")[:-1] for name in ("ref", "hyp"))
    return list(zip(refs, hyps, strict=True))


def ours_words(refs: list[str], hyps: list[str], rule: Any = "kaldi") -> Any:
    """Alignments of the words."""
    from ds2cli.metrics.alignment import align_words

    return align_words(refs, hyps, rule).total()


def ours_sclite(refs: list[str], hyps: list[str]) -> Any:
    """Alignments of the words with sclite's costs."""
    return ours_words(refs, hyps, "sclite")


def ours_both(refs: list[str], hyps: list[str]) -> Any:
    """Alignments of the words, and of the characters."""
    from ds2cli.metrics.alignment import align_characters

    align_characters(refs, hyps).total()
    return ours_words(refs, hyps)


def jiwer_words(refs: list[str], hyps: list[str]) -> Any:
    """jiwer's counts with alignments."""
    import jiwer

    out = jiwer.process_words(refs, hyps)
    return out.hits, out.substitutions, out.insertions, out.deletions


def rapidfuzz_distance(refs: list[str], hyps: list[str]) -> Any:
    """rapidfuzz's number of errors, one pair of texts after the other."""
    from rapidfuzz.distance import Levenshtein

    distance = Levenshtein.distance
    return sum(distance(ref.split(), hyp.split()) for ref, hyp in zip(refs, hyps, strict=True))


def rapidfuzz_editops(refs: list[str], hyps: list[str]) -> Any:
    """rapidfuzz's edit operations, one pair of texts after the other."""
    from rapidfuzz.distance import Levenshtein

    kinds: Counter[str] = Counter()
    words = 0
    for ref, hyp in zip(refs, hyps, strict=True):
        units = ref.split()
        words += len(units)
        kinds.update(op.tag for op in Levenshtein.editops(units, hyp.split()))
    subs, dels = kinds["replace"], kinds["delete"]
    return words - subs - dels, subs, kinds["insert"], dels


def kaldialign_loop(refs: list[str], hyps: list[str]) -> Any:
    """kaldialign's counts, one pair of texts after the other."""
    import kaldialign

    totals: Counter[str] = Counter()
    for ref, hyp in zip(refs, hyps, strict=True):
        totals.update(kaldialign.edit_distance(ref.split(), hyp.split()))
    return _kaldialign_counts(totals)


def kaldialign_batch(refs: list[str], hyps: list[str]) -> Any:
    """kaldialign's counts of all texts at once."""
    import kaldialign

    return _kaldialign_counts(kaldialign.batch_error_rate([r.split() for r in refs], [h.split() for h in hyps]))


def _kaldialign_counts(totals: Any) -> tuple[int, int, int, int]:
    return totals["ref_len"] - totals["sub"] - totals["del"], totals["sub"], totals["ins"], totals["del"]


SCORERS: dict[str, tuple[str, str, Scorer]] = {
    "ours": ("", "ours: words", ours_words),
    "ours-both": ("", "ours: words and characters", ours_both),
    "ours-sclite": ("", "ours: words, sclite's costs", ours_sclite),
    "jiwer": ("jiwer", "process_words", jiwer_words),
    "rapidfuzz": ("rapidfuzz", "distance, loop", rapidfuzz_distance),
    "rapidfuzz-ops": ("rapidfuzz", "editops, loop", rapidfuzz_editops),
    "kaldialign": ("kaldialign", "edit_distance, loop", kaldialign_loop),
    "kaldialign-batch": ("kaldialign", "batch_error_rate", kaldialign_batch),
}
"""The package, what is called in it, and the scorer."""


def title(name: str) -> str:
    """How the table names a scorer; PackageNotFoundError if its package is not installed."""
    package, call, _ = SCORERS[name]
    return f"{package} {metadata.version(package)}: {call}" if package else call


def measure(folder: Path, name: str) -> dict[str, Any]:
    """Score the texts once, after a warm-up: CPU time (s), highest memory and that before (MiB), counts."""
    refs, hyps = map(list, zip(*read_pairs(folder), strict=True))
    scorer = SCORERS[name][2]
    scorer(refs[:WARM_UP], hyps[:WARM_UP])
    with suppress(OSError):
        # so that the peak is not that of the warm-up, which may compile
        Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    start = time.process_time()
    counts = scorer(refs, hyps)
    seconds = time.process_time() - start
    if not isinstance(counts, (int, tuple)):
        counts = (counts.hits, counts.subs, counts.ins, counts.dels)
    errors = counts if isinstance(counts, int) else sum(counts[1:])
    counts = None if isinstance(counts, int) else counts
    return {"seconds": seconds, "peak": memory("VmHWM"), "before": before, "errors": errors, "counts": counts}


def memory(field: str) -> float:
    """VmRSS (now) or VmHWM (the highest) of this process (MiB)."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    elif sys.argv[1] == "repeat":
        write_rows(Path(sys.argv[2]) / f"rows{sys.argv[3]}.jsonl", read_pairs(Path(sys.argv[2])), int(sys.argv[3]))
    else:
        print(json.dumps(measure(Path(sys.argv[2]), sys.argv[3])))
