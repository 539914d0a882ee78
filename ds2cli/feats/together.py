"""Features of several streams at once. Notation: N samples, T frames, F bins.

A frame depends on the samples of its window alone. So the pieces of all streams are transformed as one recording: of a
piece of a tenth of a second, most of the time is taken by the calls, not by the transform. Frames that lie across two
streams are computed, and left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.level import hop_powers
from ds2cli.errors import BadUtterance
from ds2cli.feats.frames import FrameStream
from ds2cli.feats.stream import FeatureStream

Array = NDArray[np.float32]

LARGEST = 1e12
"""Samples beyond this are computed one stream at a time: their power may be too large (see `level.hop_powers`)."""


def advance_together(streams: Sequence[FeatureStream], samples: Sequence[Array]) -> list[Array | BadUtterance]:
    """The frames (T_i, F) that the next samples (N_i,) of each stream complete, or the error of `advance`.

    streams: different ones, of the same settings. What a stream gets is the same, to the bit, as from `advance`.
    """
    framers = [stream.framer(part) for stream, part in zip(streams, samples, strict=True)]
    together = [i for i, framer in enumerate(framers) if framer is not None]
    found: dict[int, Array | BadUtterance] = {}
    if len(together) > 1:
        frames = _advance([framer for framer in framers if framer is not None], [samples[i] for i in together])
        found.update(zip(together, frames or [], strict=frames is not None))
    return [found[i] if i in found else _advance_one(streams[i], samples[i]) for i in range(len(streams))]


def _advance_one(stream: FeatureStream, samples: Array) -> Array | BadUtterance:
    try:
        return stream.advance(samples)
    except BadUtterance as e:
        return e


def _compute_one(stream: FrameStream) -> Array | BadUtterance:
    try:
        return stream.compute()
    except BadUtterance as e:
        return e


def _advance(streams: Sequence[FrameStream], samples: Sequence[Array]) -> Sequence[Array | BadUtterance] | None:
    """None, with nothing changed, if there are samples that may be an error."""
    hop, width, config = streams[0].hop, streams[0].width, streams[0].config
    joined = _join([part.data for part in samples])
    if len(joined) and not (joined.max() < LARGEST and joined.min() > -LARGEST):
        return None
    for stream, part in zip(streams, samples, strict=True):
        stream.add(part.data)
    hops = [stream.new_hops() for stream in streams]
    try:
        powers = hop_powers(_join([part.data for part in hops]), hop)
    except BadUtterance:
        # of a stream that had kept such samples, whose hop is complete only now: the others are not to blame
        return [_compute_one(stream) for stream in streams]
    begin = 0
    for stream, part in zip(streams, hops, strict=True):
        end = begin + len(part) // hop
        stream.add_powers(powers[begin:end])
        begin = end
    places = [stream.find_frames() for stream in streams]
    pieces: list[memoryview | bytes] = []
    gains: list[float] = []
    rows: list[tuple[int, int]] = []
    for stream, (start, stop) in zip(streams, places, strict=True):
        total = stream.count_frames(stop - start) if stop > start else 0
        rows.append((len(gains), total))
        if total:
            size = math.ceil((stop - start) / hop)
            pieces += [stream.view[start:stop], bytes(4 * (size * hop - (stop - start)))]
            gains += [*stream.take_gains(total), *[1.0] * (size - total)]
    if not pieces:
        return [stream.empty for stream in streams]
    recording = _join(pieces)
    count = (len(recording) - width) // hop + 1
    features: Array = streams[0].transform(recording, np.array(gains[:count], np.float32), config)
    for stream, (_, total) in zip(streams, rows, strict=True):
        if total:
            stream.forget(total)
    return [features[row : row + total] for row, total in rows]


def _join(parts: Sequence[memoryview | bytes]) -> Array:
    """All samples (N,), one part after another; numpy would let another thread run during each copy."""
    return np.frombuffer(bytearray().join(parts), np.float32)
