"""Segmentation of a text into output units: characters, the paper's bigrams, or sentencepiece's subwords (pieces).

The space and every Chinese or Japanese character are separate units. The runs of letters between them are segmented
independently: a word always gets the same units, no unit crosses a word boundary, and a text is the concatenation of
its units.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from ds2cli.errors import DataError, UsageError

Segmenter = Callable[[str], list[str]]

# iteration marks and numerals, kana, Han and its extensions, half-width kana
_SINGLE = "\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
_SINGLE += "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
_RUNS = re.compile(f"[ {_SINGLE}]|[^ {_SINGLE}]+")
_RUN = re.compile(f"[^ {_SINGLE}]+")

# Thai, Lao, Myanmar and its extensions, Khmer
UNSPACED = f"{_SINGLE}\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f"
"""The letters of scripts without spaces between words, as a set of a regular expression."""

_UNSPACED = re.compile(f"[{UNSPACED}]")

_SENTENCEPIECE_MARKERS = frozenset("\u2581\u2585")
"""Characters that sentencepiece reserves for a space and an unknown character."""


def split_runs(text: str) -> list[str]:
    """Split a text into spaces, single Chinese and Japanese characters, and runs of other letters.

    >>> split_runs("the 中文 abc")
    ['the', ' ', '中', '文', ' ', 'abc']
    """
    return _RUNS.findall(text)


def is_run(part: str) -> bool:
    """Whether a part from `split_runs` is a run of letters, which is segmented further.

    >>> [is_run(part) for part in split_runs("a 中")]
    [True, False, False]
    """
    return _RUN.fullmatch(part) is not None


def is_unspaced(text: str) -> bool:
    """Whether a text has a letter of a script that is written without spaces between words.

    >>> [is_unspaced(text) for text in ("stop", "打开", "เปิด")]
    [False, True, True]
    """
    return _UNSPACED.search(text) is not None


def split_bigrams(run: str) -> list[str]:
    """A run of letters as non-overlapping bigrams, with a single letter at an odd end (Deep Speech 2, section 3.6).

    >>> split_bigrams("the")
    ['th', 'e']
    """
    return [run[i : i + 2] for i in range(0, len(run), 2)]


def make_longest_match(units: Iterable[str]) -> Segmenter:
    """A function that splits a run of letters into units, from the left the longest one each time, else a letter.

    That finds the phonemes of networks of other toolkits, which may have several code points.

    >>> make_longest_match(["t", "t\u0361\u0283", "a\u026a"])("t\u0361\u0283a\u026at")
    ['t\u0361\u0283', 'a\u026a', 't']
    """
    pattern = re.compile("|".join(map(re.escape, sorted(units, key=len, reverse=True))) + "|.", re.DOTALL)
    return pattern.findall


def train_sentencepiece(runs: Mapping[str, int], kind: Literal["bpe", "unigram"], size: int) -> bytes:
    """Train a sentencepiece model on runs of letters and their counts; equal counts give equal bytes.

    size: number of pieces, single letters included; a small text may give fewer.  UsageError when there are more
    letters than pieces, or no runs.
    """
    import sentencepiece

    # runs that sentencepiece cannot handle are left out; the vocabulary encodes them by character
    learned = {
        run: n for run, n in sorted(runs.items()) if run.isprintable() and _SENTENCEPIECE_MARKERS.isdisjoint(run)
    }
    letters = set().union(*learned)
    if not letters:
        raise UsageError(f"units.kind: the texts have no words to learn {kind} pieces from")
    if size < len(letters):
        raise UsageError(
            f"units.size: expected at least {len(letters)}, the number of letters in the texts, got {size}"
        )
    # in two lines, because unigram ignores a run that occurs in only one line, whatever its count
    lines = [f"{run}\t{count}" for run, n in learned.items() for count in (n - n // 2, n // 2) if count]
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), input_format="tsv", model_writer=model, model_type=kind, vocab_size=size + 1,
            hard_vocab_limit=False, character_coverage=1.0, normalization_rule_name="identity", add_dummy_prefix=False,
            remove_extra_whitespaces=False, split_by_unicode_script=False, split_by_number=False, unk_id=0, bos_id=-1,
            eos_id=-1, pad_id=-1, shuffle_input_sentence=False, num_threads=1, minloglevel=2,
        )  # fmt: skip
    except RuntimeError as e:
        raise UsageError(
            f"units.kind: sentencepiece cannot learn {kind} pieces from the texts: {' '.join(str(e).split())}"
        ) from e
    return model.getvalue()


def load_sentencepiece(model: bytes) -> tuple[list[str], Segmenter]:
    """The pieces of a sentencepiece model, and a function that segments a run of letters into them.

    Letters unknown to the model stay as they are, in separate units or in others. DataError for any other bytes.
    """
    import sentencepiece

    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        known = [i for i in range(processor.get_piece_size()) if not processor.is_unknown(i)]
        pieces = [processor.id_to_piece(i) for i in known]
    # UnicodeDecodeError: a piece is not UTF-8
    except (RuntimeError, UnicodeDecodeError) as e:
        raise DataError("vocabulary: its sentencepiece model is damaged") from e

    def segment(run: str) -> list[str]:
        try:
            units: list[str] = processor.encode(run, out_type=str)
        except RuntimeError:
            # half of a surrogate pair, which is not a letter of any piece
            return list(run)
        return units

    return pieces, segment
