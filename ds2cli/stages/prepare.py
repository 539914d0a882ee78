"""Turn a corpus into rows: find the utterances, read each recording, normalize each text."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import lru_cache, partial
from itertools import chain, islice

from ds2cli import memory
from ds2cli.audio.lengths import FILES_AT_A_TIME, Lengths
from ds2cli.audio.read import count_channels, parse_channel, split_channels
from ds2cli.config.prepare import EACH, PrepareConfig
from ds2cli.corpora import load_corpus
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.interop._found import sort_items
from ds2cli.manifest import Row, is_id
from ds2cli.text.normalize import NOT_SPEECH, TextRules

BLOCK = 256
"""Rows given to the threads at a time, and the most that Ctrl-C has to wait for."""

PART = 8
"""Rows given to a thread at a time."""

MAX_CHARACTERS_PER_SECOND = 25.0
"""Faster than anyone speaks: the text does not match the recording."""


def run(name: str, source: str, config: PrepareConfig, ledger: Ledger) -> Iterator[Row]:
    """Yield the rows of a corpus sorted by id, each with a readable recording, its duration, and a normalized text.

    config: an `Options` of that corpus.
    Unreadable recordings, texts that cannot be written in letters, and repeated ids are dropped.
    """
    rules, channel = TextRules.of(config), None if config.channel == EACH else parse_channel(config.channel, ", each")
    found: Iterable[Row] = load_corpus(name).prepare(source, config, ledger)
    lengths = Lengths(decode=config.check == "decode")

    def check(rows: list[Row]) -> list[Row | BadUtterance]:
        return [_check(row, config, rules, lengths) for row in rows]

    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(config.nj))
        if config.channel == EACH:
            count = lru_cache(FILES_AT_A_TIME)(_count_channels)
            found = _split_all(iter(found), pool, partial(_split, count=count))
        elif channel is not None:
            found = ({"channel": channel, **row} for row in found)
        rows = stack.enter_context(closing(_sort(found)))
        last = None
        while block := list(islice(rows, BLOCK)):
            # a thread gets several rows at a time, as a header takes less than to hand over a row
            parts = [block[i : i + PART] for i in range(0, len(block), PART)]
            for row, checked in zip(block, chain.from_iterable(pool.map(check, parts)), strict=True):
                if row["id"] == last:
                    ledger.drop(
                        row["id"],
                        "duplicate-id",
                        f"the recording {row['audio_filepath']} has the same id as an earlier one",
                    )
                    continue
                last = row["id"]
                if isinstance(checked, BadUtterance):
                    ledger.drop_error(row["id"], checked, bad=checked.reason != NOT_SPEECH)
                else:
                    yield checked


def _sort(rows: Iterable[Row]) -> Generator[Row]:
    """The rows sorted by id, in bounded memory: GigaSpeech has eight million segments."""
    yield from (row for row, _ in sort_items((row, False) for row in rows))


def _count_channels(path: str) -> int:
    """The number of channels of a recording; 1 if it cannot be read, as it is dropped when it is checked."""
    try:
        return count_channels(path)
    except BadUtterance:
        return 1


def _split_all(rows: Iterator[Row], pool: ThreadPoolExecutor, split: Callable[[Row], list[Row]]) -> Iterator[Row]:
    while block := list(islice(rows, BLOCK)):
        yield from chain.from_iterable(pool.map(split, block))


def _split(row: Row, count: Callable[[str], int]) -> list[Row]:
    """A row for each channel; the row itself if it states its own."""
    return [row] if "channel" in row else split_channels(row, count(row["audio_filepath"]))


def _check(row: Row, config: PrepareConfig, rules: TextRules, lengths: Lengths) -> Row | BadUtterance:
    """The row with its duration, sample rate and normalized text, or the error that drops it."""
    try:
        if not is_id(row["id"]):
            raise BadUtterance("bad-id", f"{row['id'][:80]!r}: expected an id without spaces and control characters")
        row = dict(row)
        if _needs_text(config):
            text = row.get("text", "")
            row["text"] = rules.normalize(text, row.get("lang"))
            if not row["text"]:
                raise BadUtterance("no-text", f"the text {text[:40]!r} has no letters" if text else "the text is empty")
        return memory.fit_utterance(partial(_with_duration, row, config, lengths), "the recording", memory.SHORTER)
    except BadUtterance as e:
        return e


def _needs_text(config: PrepareConfig) -> bool:
    return bool(getattr(config, "text", True))


def _with_duration(row: Row, config: PrepareConfig, lengths: Lengths) -> Row:
    seconds, rate = lengths.find(row)
    if _needs_text(config) and len(row["text"]) > MAX_CHARACTERS_PER_SECOND * seconds:
        detail = f"{len(row['text'])} characters in {seconds:.2f} s, more than {MAX_CHARACTERS_PER_SECOND:g} per second"
        raise BadUtterance("text-too-long", detail)
    row["duration"] = round(seconds, 6)
    row["sample_rate"] = rate
    order = ("id", "audio_filepath", "channel", "offset", "duration", "text")
    return {**{name: row[name] for name in order if name in row}, **row}
