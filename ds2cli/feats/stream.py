"""Features of a stream of samples. Notation: N samples, T frames, F bins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.features import FeatureConfig
from ds2cli.feats import kinds
from ds2cli.feats.blocks import LIVE, BlockStream
from ds2cli.feats.frames import FrameStream


class FeatureStream:
    """Features of samples that arrive in pieces of any length: bit for bit the same for any division into pieces.

    With the level of the past (`level_from`) they equal those of `kinds.compute`, each frame as soon as its window is
    complete. With that of the utterance they are an approximation (see `FrameStream`). A kind without `transform`, as
    plugins may be, cannot compute single frames: its features come in blocks (see `blocks.LIVE`).
    """

    def __init__(self, config: FeatureConfig) -> None:
        self._stream = FrameStream(config) if kinds.can_stream(config) else BlockStream(config, LIVE)

    def advance(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next samples (N,), float32 at `config.sample_rate`; the frames (T, F) that are ready, maybe none.

        BadUtterance "not-a-number" for NaN or infinite samples.
        """
        return self._stream.advance(samples)

    def finish(self) -> NDArray[np.float32]:
        """The last frames (T, F); a stream shorter than a window has none in all. No more samples may follow."""
        return self._stream.finish()

    def framer(self, samples: NDArray[np.float32]) -> FrameStream | None:
        """What computes single frames, if it can take the next samples (N,) at once (see `together.py`)."""
        stream = self._stream
        if isinstance(stream, FrameStream) and stream.can_add(samples) and samples.flags.c_contiguous:
            return stream if samples.dtype == np.float32 else None
        return None
