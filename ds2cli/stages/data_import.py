"""Turn the data of another toolkit into rows: sorted, checked, with the durations that it does not state."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import islice

from ds2cli.archive import matrix_shape
from ds2cli.audio.read import AudioInfo, probe
from ds2cli.config.interop import ImportConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.interop import load_format
from ds2cli.interop._found import Item, in_order, order_fields
from ds2cli.manifest import FIELDS, Row, is_id

BLOCK = 1024
"""Rows given to the threads at a time."""

FILES_AT_A_TIME = 4096
"""Files whose headers are remembered: segments of a long recording are usually listed together."""

Header = Callable[[str], AudioInfo | BadUtterance]


def run(name: str, source: str, config: ImportConfig, ledger: Ledger) -> Iterator[Row]:
    """Yield the rows of a source sorted by id.

    name: of the format; config: its `ImportOptions`. Rows without a recording, with a value of a wrong type, and
    repeated ids are dropped.
    """
    items = in_order(load_format(name).read(source, config, ledger))
    headers: Header = lru_cache(FILES_AT_A_TIME)(_read_header)
    check = partial(_check, header=headers, trust=config.check == "none")
    last = ""
    with ThreadPoolExecutor(config.nj) as pool:
        spread = pool.map if config.nj > 1 else map
        while block := list(islice(items, BLOCK)):
            for (row, _), checked in zip(block, spread(check, block), strict=True):
                if row["id"] == last:
                    ledger.drop(row["id"], "duplicate-id", f"id {row['id']!r} appears more than once")
                elif isinstance(checked, BadUtterance):
                    ledger.drop_error(row["id"], checked)
                else:
                    yield checked
                last = row["id"]


def _check(item: Item, header: Header, trust: bool) -> Row | BadUtterance:
    """The row with what its source does not state, or the error that drops it."""
    row, is_complete = item
    try:
        check_types(row)
        if not trust:
            path = row.get("audio_filepath")
            # that of Path takes several times as long
            if path and not os.path.isfile(path):
                raise BadUtterance("missing-audio", f"no file {path}")
            if not is_complete:
                row = _complete(dict(row), header)
        return row
    except BadUtterance as e:
        return e


def check_types(row: Row) -> None:
    """BadUtterance "bad-id" or "wrong-type" for what no manifest may have."""
    if not (row["id"].isalnum() or is_id(row["id"])):
        raise BadUtterance("bad-id", f"{row['id'][:80]!r}: expected an id without spaces and control characters")
    for name, value in row.items():
        known = FIELDS.get(name)
        if known and name != "id" and not known[0](value):
            raise BadUtterance("wrong-type", f"field {name!r} must be {known[1]}, got {value!r:.60}")


def _complete(row: Row, header: Header) -> Row:
    path = row.get("audio_filepath")
    if path and ("duration" not in row or row.get("channel", 0) > 0):
        info = header(path)
        if isinstance(info, BadUtterance):
            raise info
        if info.channels == 1 and row.get("channel"):
            # a channel that was extracted already
            del row["channel"]
        if row.get("channel", 0) >= info.channels:
            raise BadUtterance("no-such-channel", f"{path} has {info.channels} channels, no number {row['channel']}")
        if "duration" not in row:
            row["duration"] = round(info.duration_s - row.get("offset", 0.0), 6)
            if row["duration"] <= 0:
                detail = f"{path} has {info.duration_s:.2f} s, the segment starts at {row['offset']:g} s"
                raise BadUtterance("bad-segment", detail)
        row["sample_rate"] = info.sample_rate
    if row.get("feats") and "num_frames" not in row:
        row["num_frames"] = matrix_shape(row["feats"])[0]
    return order_fields(row)


def _read_header(path: str) -> AudioInfo | BadUtterance:
    try:
        return probe(path, decode=False)
    except BadUtterance as e:
        return e
