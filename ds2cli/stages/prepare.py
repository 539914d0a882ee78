"""Turn a corpus into rows: find the utterances, read each recording, normalize each text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import chain

from ds2cli import memory
from ds2cli.audio.codecs import check_channel
from ds2cli.audio.read import AudioInfo, count_channels, parse_channel, probe, read, split_channels
from ds2cli.config.prepare import EACH, PrepareConfig
from ds2cli.corpora import load_corpus
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row, is_id
from ds2cli.text.normalize import TextRules

BLOCK = 256
"""Rows given to the threads at a time, and the most that Ctrl-C has to wait for."""

MAX_CHARACTERS_PER_SECOND = 25.0
"""Faster than anyone speaks: the text does not match the recording."""

ENOUGH = 0.9
"""Share of its stated duration that a recording has to have."""

FILES_AT_A_TIME = 4096
"""Files whose headers are remembered: segments of a long recording are usually listed together."""

Header = Callable[[str], AudioInfo | BadUtterance]


def run(name: str, source: str, config: PrepareConfig, ledger: Ledger) -> Iterator[Row]:
    """Yield the rows of a corpus sorted by id, each with a readable recording, its duration, and a normalized text.

    config: an `Options` of that corpus.
    Unreadable recordings, texts that cannot be written in letters, and repeated ids are dropped.
    """
    rules, channel = TextRules.of(config), None if config.channel == EACH else parse_channel(config.channel, ", each")
    found: Iterable[Row] = load_corpus(name).prepare(source, config, ledger)
    header: Header = lru_cache(FILES_AT_A_TIME)(_read_header)
    check = partial(_check, config=config, rules=rules, header=header)
    with ThreadPoolExecutor(config.nj) as pool:
        if config.channel == EACH:
            count = lru_cache(FILES_AT_A_TIME)(_count_channels)
            found = chain.from_iterable(pool.map(partial(_split, count=count), found))
        elif channel is not None:
            found = ({"channel": channel, **row} for row in found)
        rows = sorted(found, key=lambda row: str(row["id"]))
        last = None
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            for row, checked in zip(block, pool.map(check, block), strict=True):
                if row["id"] == last:
                    ledger.drop(
                        row["id"],
                        "duplicate-id",
                        f"the recording {row['audio_filepath']} has the same id as an earlier one",
                    )
                    continue
                last = row["id"]
                if isinstance(checked, BadUtterance):
                    ledger.drop_error(row["id"], checked)
                else:
                    yield checked


def _read_header(path: str) -> AudioInfo | BadUtterance:
    """What the header of a file states, or the error."""
    try:
        return probe(path, decode=False)
    except BadUtterance as e:
        return e


def _count_channels(path: str) -> int:
    """The number of channels of a recording; 1 if it cannot be read, as it is dropped when it is checked."""
    try:
        return count_channels(path)
    except BadUtterance:
        return 1


def _split(row: Row, count: Callable[[str], int]) -> list[Row]:
    """A row for each channel; the row itself if it states its own."""
    return [row] if "channel" in row else split_channels(row, count(row["audio_filepath"]))


def _check(row: Row, config: PrepareConfig, rules: TextRules, header: Header) -> Row | BadUtterance:
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
        return memory.fit_utterance(partial(_with_duration, row, config, header), "the recording", memory.SHORTER)
    except BadUtterance as e:
        return e


def _needs_text(config: PrepareConfig) -> bool:
    return bool(getattr(config, "text", True))


def _with_duration(row: Row, config: PrepareConfig, header: Header) -> Row:
    path, channel = row["audio_filepath"], row.get("channel")
    if "offset" in row and config.check == "decode":
        samples, rate = read(path, channel=channel, offset_s=row["offset"], duration_s=row.get("duration"))
        seconds = len(samples) / rate
    else:
        info = probe(path) if config.check == "decode" else header(path)
        if isinstance(info, BadUtterance):
            raise info
        check_channel(info.channels, channel, path)
        seconds, rate = _segment_seconds(row, info) if "offset" in row else info.duration_s, info.sample_rate
    if seconds < ENOUGH * row.get("duration", 0.0):
        raise BadUtterance("truncated-audio", f"{path} has {seconds:.2f} s, expected {row['duration']:.2f} s")
    if _needs_text(config) and len(row["text"]) > MAX_CHARACTERS_PER_SECOND * seconds:
        detail = f"{len(row['text'])} characters in {seconds:.2f} s, more than {MAX_CHARACTERS_PER_SECOND:g} per second"
        raise BadUtterance("text-too-long", detail)
    row["duration"] = round(seconds, 6)
    row["sample_rate"] = rate
    order = ("id", "audio_filepath", "channel", "offset", "duration", "text")
    return {**{name: row[name] for name in order if name in row}, **row}


def _segment_seconds(row: Row, info: AudioInfo) -> float:
    """How long the segment of a row is in its file (s); the number of samples is that of `read`."""
    rate = info.sample_rate
    start, total = round(row["offset"] * rate), round(info.duration_s * rate)
    if start >= total:
        stated = f"the segment starts at {row['offset']:g} s"
        raise BadUtterance("bad-segment", f"{row['audio_filepath']} has {info.duration_s:.2f} s, {stated}")
    wanted: int = round(row["duration"] * rate) if "duration" in row else total
    length = min(wanted, total - start)
    return float(length / rate)
