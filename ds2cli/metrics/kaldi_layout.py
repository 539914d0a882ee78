"""Kaldi's files of a scored test set: FOLDER/scoring_kaldi/ with `best_wer` and `wer_details/`.

    best_wer                %WER 13.45 [ 2708 / 20138, 358 ins, 330 del, 2020 sub ] FILE
    wer_details/per_utt     reference, hypothesis and steps of each alignment in columns, and its counts
    wer_details/per_spk     counts and percentages of each speaker
    wer_details/ops         how often each word was right, substituted, inserted and deleted
    wer_details/wer_bootci  the 95 % interval of the bootstrap

The bytes are those of Kaldi's scripts (steps/scoring/score_kaldi_wer.sh, with LC_ALL=C) for the same alignments, but
for the random numbers of the bootstrap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from ds2cli.atomic import together
from ds2cli.errors import DataError
from ds2cli.io import open_out
from ds2cli.kernels.edit import DEL, HIT, INS, LETTERS
from ds2cli.metrics.alignment import Alignments
from ds2cli.metrics.bootstrap import draw_totals
from ds2cli.metrics.wer import Counts

EMPTY = "***"
"""What stands on the empty side of an insertion or a deletion."""

UNKNOWN_SPEAKER = "unknown"

_DEVIATIONS = 1.96
"""Half of the interval of 95 %, in standard deviations."""

_SPEAKER_WIDTH, _WORD_WIDTH = 15, 16
_TITLES = ("#SENT", "#WORD", "Corr", "Sub", "Ins", "Del", "Err", "S.Err")
DRAWS = 10000
"""As in Kaldi's compute-wer-bootci."""


class KaldiLayout:
    """Writes the files while utterances are added, as a context: all of them appear at its end, or none.

    What is held in memory grows with the number of speakers and of different pairs of words, and by 16 bytes per
    utterance.
    source: the name at the end of `best_wer`, in Kaldi that of the decoding [default: the folder].
    seed, draws, threads: of the bootstrap.
    absent: to be set to the number of utterances without a hypothesis; `best_wer` then has Kaldi's mark [PARTIAL].
    """

    def __init__(self, folder: str, source: str = "", *, seed: int = 0, draws: int = DRAWS, threads: int = 1) -> None:
        self.folder = f"{folder}/scoring_kaldi"
        self.source = source or folder
        self.absent = 0
        self._seed, self._draws, self._threads = seed, draws, threads
        self._speakers: dict[str, NDArray[np.int64]] = {}
        self._pairs: Counter[tuple[str, str, str]] = Counter()
        self._errors: list[NDArray[np.int64]] = []
        self._stack = ExitStack()
        self._per_utt: TextIO

    def __enter__(self) -> KaldiLayout:
        with ExitStack() as stack:
            stack.enter_context(together())
            self._per_utt = stack.enter_context(open_out(f"{self.folder}/wer_details/per_utt"))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        with self._stack:
            if error is not None:
                raise error
            self._write_totals()
        return None

    def add(self, ids: Sequence[str], speakers: Sequence[str | None], alignments: Alignments) -> None:
        """Add utterances with the alignments of their words. Those without a speaker count as one speaker.

        DataError for a word that is Kaldi's sign of an empty side.
        """
        shown = _ShownPairs(alignments)
        ends, counts = alignments.ends.tolist(), alignments.counts
        begin = 0
        for k, (id_, end) in enumerate(zip(ids, ends, strict=True)):
            refs, hyps, steps = shown.columns(id_, begin, end)
            hits, subs, ins, dels = counts[k].tolist()
            self._per_utt.write(
                f"{id_} ref  {refs}\n{id_} hyp  {hyps}\n{id_} op   {steps}\n{id_} #csid {hits} {subs} {ins} {dels}\n"
            )
            begin = end
        self._pairs.update(shown.count())
        self._errors.append(np.stack([counts[:, 1:].sum(axis=1), counts[:, [0, 1, 3]].sum(axis=1)], axis=1))
        wrong = counts[:, 1:].any(axis=1, keepdims=True)
        rows = np.concatenate([counts, np.ones_like(wrong, np.int64), wrong], axis=1)
        for speaker, row in zip(speakers, rows, strict=True):
            name = "_".join((speaker or "").split()) or UNKNOWN_SPEAKER
            if name in self._speakers:
                self._speakers[name] += row
            else:
                self._speakers[name] = row.copy()

    def _write_totals(self) -> None:
        per_utterance = np.concatenate([np.zeros((0, 2), np.int64), *self._errors])
        total = np.sum([np.zeros(6, np.int64), *self._speakers.values()], axis=0)
        hits, subs, ins, dels = (int(n) for n in total[:4])
        counts = Counts(hits, subs, ins, dels)
        partial = " [PARTIAL]" if self.absent else ""
        with open_out(f"{self.folder}/best_wer") as f:
            f.write(
                f"%WER {counts.rate:.2f} [ {counts.errors} / {counts.total}, {ins} ins, {dels} del, {subs} sub ]"
                f"{partial} {self.source}\n"
            )
        with open_out(f"{self.folder}/wer_details/per_spk") as f:
            f.writelines(_speaker_lines(self._speakers, total))
        with open_out(f"{self.folder}/wer_details/ops") as f:
            f.writelines(_pair_lines(self._pairs))
        with open_out(f"{self.folder}/wer_details/wer_bootci") as f:
            sums = draw_totals(per_utterance, self._seed, self._draws, self._threads)
            rates = 100.0 * sums[:, 0] / np.maximum(sums[:, 1], 1)
            mean, half = rates.mean(), _DEVIATIONS * rates.std()
            f.write(f"Set1: %WER {mean:.2f} 95% Conf Interval [ {mean - half:.2f}, {mean + half:.2f} ]\n")


class _ShownPairs:
    """The pairs of words of P alignments, and how they are shown in columns."""

    def __init__(self, alignments: Alignments) -> None:
        refs, hyps, steps = alignments.ref_ids, alignments.hyp_ids, alignments.steps
        # an id is at least -1
        keys = ((refs.astype(np.int64) + 1) << 32) | (hyps.astype(np.int64) + 1)
        _, first, self.index, self.numbers = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        self.steps = [LETTERS[step] for step in steps[first].tolist()]
        ref_ids, hyp_ids = refs[first].tolist(), hyps[first].tolist()
        names = {id_: alignments.names[id_] for id_ in {*ref_ids, *hyp_ids} if id_ >= 0} | {-1: EMPTY}
        self.refs = [names[id_] for id_ in ref_ids]
        self.hyps = [names[id_] for id_ in hyp_ids]
        self.shown = [_center(*columns) for columns in zip(self.refs, self.hyps, self.steps, strict=True)]
        self.has_empty = any(
            (ref == EMPTY and step != LETTERS[INS]) or (hyp == EMPTY and step != LETTERS[DEL])
            for ref, hyp, step in zip(self.refs, self.hyps, self.steps, strict=True)
        )

    def columns(self, id_: str, begin: int, end: int) -> tuple[str, ...]:
        """References, hypotheses and steps of one alignment, whose steps lie between `begin` and `end`."""
        pairs = self.index[begin:end].tolist()
        if self.has_empty:
            self._refuse_empty(id_, pairs)
        if not pairs:
            return "", "", ""
        return tuple(map("  ".join, zip(*[self.shown[pair] for pair in pairs], strict=True)))

    def count(self) -> dict[tuple[str, str, str], int]:
        """How often each step happened to each pair of words."""
        keys = zip(self.steps, self.refs, self.hyps, strict=True)
        return dict(zip(keys, self.numbers.tolist(), strict=True))

    def _refuse_empty(self, id_: str, pairs: Iterable[int]) -> None:
        for pair in pairs:
            words = {self.refs[pair]} if self.steps[pair] != LETTERS[INS] else set()
            words |= {self.hyps[pair]} if self.steps[pair] != LETTERS[DEL] else set()
            if EMPTY in words:
                raise DataError(
                    f"utterance {id_!r} has the word {EMPTY}, which in Kaldi's files is the empty side of an error"
                )


def _center(*columns: str) -> list[str]:
    """The texts of one step with spaces on both sides, as wide as the widest; an odd one is on the left."""
    width = max(map(len, columns))
    return [" " * (width - len(c) - (width - len(c)) // 2) + c + " " * ((width - len(c)) // 2) for c in columns]


def _speaker_lines(speakers: dict[str, NDArray[np.int64]], total: NDArray[np.int64]) -> Iterator[str]:
    width = max([_SPEAKER_WIDTH, *map(len, speakers)])
    yield f"{'SPEAKER':<{width}} id  {' '.join(f'{title:>10}' for title in _TITLES)}\n"
    for name, numbers in [*((name, speakers[name]) for name in sorted(speakers)), ("SUM", total)]:
        hits, subs, ins, dels, sentences, wrong = (int(n) for n in numbers)
        words, errors = hits + subs + dels, subs + dels + ins
        raw = (sentences, words, hits, subs, ins, dels, errors, wrong)
        yield f"{name:<{width}} raw {' '.join(f'{n:>10}' for n in raw)}\n"
        if words:
            percent = [100 * n / words for n in raw[2:7]] + [100 * wrong / sentences]
            yield (
                f"{name:<{width}} sys {sentences:>10} {words:>10} {' '.join(f'{share:>10.2f}' for share in percent)}\n"
            )


def _pair_lines(pairs: Counter[tuple[str, str, str]]) -> Iterator[str]:
    kinds = {LETTERS[HIT]: "correct", "S": "substitution", LETTERS[INS]: "insertion", LETTERS[DEL]: "deletion"}
    width = min(_WORD_WIDTH, max((len(word) for _, ref, hyp in pairs for word in (ref, hyp)), default=0))
    digits = max((len(str(number)) for number in pairs.values()), default=0)

    def order(pair: tuple[str, str, str]) -> tuple[str, int, str, str, bytes]:
        # sort -i compares printable ASCII only, and what is then equal by its bytes
        step, ref, hyp = pair
        return kinds[step], -pairs[pair], _printable(ref), _printable(hyp), line(pair).encode("utf-8", "surrogatepass")

    def line(pair: tuple[str, str, str]) -> str:
        step, ref, hyp = pair
        return f"{kinds[step]:<12}  {ref:>{width}}    {hyp:>{width}}    {pairs[pair]:>{digits}}\n"

    return map(line, sorted(pairs, key=order))


def _printable(word: str) -> str:
    return word if word.isascii() and word.isprintable() else "".join(c for c in word if " " <= c <= "~")
