"""How a text is cut into units: characters, the paper's bigrams, or pieces that sentencepiece has learned.

The space is always a unit of its own, and so is every Chinese and Japanese character. What lies between them, a run of
letters, is cut by itself, so a word is cut the same way wherever it stands, no unit reaches over the end of a word, and
a text is its units joined.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from typing import Literal

from ds2cli.errors import DataError, UsageError

Segmenter = Callable[[str], list[str]]

# iteration marks and numerals, kana, Han and its extensions, half-width kana
_WRITTEN_SINGLY = "\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
_WRITTEN_SINGLY += "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
_PARTS = re.compile(f"[ {_WRITTEN_SINGLY}]|[^ {_WRITTEN_SINGLY}]+")
_RUN = re.compile(f"[^ {_WRITTEN_SINGLY}]+")

_MARKS_OF_SENTENCEPIECE = frozenset("\u2581\u2585")
"""A space and an unknown character, in its own writing."""


def split_runs(text: str) -> list[str]:
    """The spaces, the Chinese and Japanese characters, and the runs of letters between them.

    >>> split_runs("the 中文 abc")
    ['the', ' ', '中', '文', ' ', 'abc']
    """
    return _PARTS.findall(text)


def is_run(part: str) -> bool:
    """Whether a part of a text is a run of letters, which may be cut.

    >>> [is_run(part) for part in split_runs("a 中")]
    [True, False, False]
    """
    return _RUN.fullmatch(part) is not None


def split_bigrams(run: str) -> list[str]:
    """A run of letters as bigrams that do not overlap, an odd letter at its end alone (Deep Speech 2, section 3.6).

    >>> split_bigrams("the")
    ['th', 'e']
    """
    return [run[i : i + 2] for i in range(0, len(run), 2)]


def train_sentencepiece(runs: Mapping[str, int], kind: Literal["bpe", "unigram"], size: int) -> bytes:
    """A sentencepiece model of runs of letters and how often each is seen; the same bytes from the same counts.

    size: pieces, the letters included; fewer where the runs give no more.  UsageError when the letters alone are more,
    or there is nothing to learn from.
    """
    import sentencepiece

    # what is no letter to sentencepiece stays out, and is spelled by the vocabulary
    learned = {
        run: n for run, n in sorted(runs.items()) if run.isprintable() and _MARKS_OF_SENTENCEPIECE.isdisjoint(run)
    }
    letters = set().union(*learned)
    if not letters:
        raise UsageError(f"units.kind: there are no words in the texts to learn {kind} from")
    if size < len(letters):
        raise UsageError(
            f"units.size: the texts have {len(letters)} letters, expected as many pieces or more, got {size}"
        )
    # in two lines, because a run that stands in one line only is no candidate of unigram, however often it is counted
    lines = [f"{run}\t{count}" for run, n in learned.items() for count in (n - n // 2, n // 2) if count]
    made = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), input_format="tsv", model_writer=made, model_type=kind, vocab_size=size + 1,
            hard_vocab_limit=False, character_coverage=1.0, normalization_rule_name="identity", add_dummy_prefix=False,
            remove_extra_whitespaces=False, split_by_unicode_script=False, split_by_number=False, unk_id=0, bos_id=-1,
            eos_id=-1, pad_id=-1, shuffle_input_sentence=False, num_threads=1, minloglevel=2,
        )  # fmt: skip
    except RuntimeError as e:
        raise UsageError(
            f"units.kind: sentencepiece cannot learn {kind} from the texts: {' '.join(str(e).split())}"
        ) from e
    return made.getvalue()


def load_sentencepiece(model: bytes) -> tuple[list[str], Segmenter]:
    """The pieces of a sentencepiece model, and what cuts a run of letters into them.

    DataError when the bytes are no such model.  A letter that it does not know is a unit, or part of one, as it is.
    """
    import sentencepiece

    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError as e:
        raise DataError("vocabulary: its sentencepiece model is broken") from e
    known = [i for i in range(processor.get_piece_size()) if not processor.is_unknown(i)]

    def cut(run: str) -> list[str]:
        units: list[str] = processor.encode(run, out_type=str)
        return units

    return [processor.id_to_piece(i) for i in known], cut
