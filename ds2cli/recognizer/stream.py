"""Recognize a stream of samples: features, network, search and endpoints, as far as they are complete.

Notation: N samples, T frames or steps, V symbols.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from ds2cli.config.features import FeatureConfig
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.feats.stream import FeatureStream
from ds2cli.feats.together import advance_together
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.utterances import Result, UtteranceStream
from ds2cli.runtime.emit import log_softmax
from ds2cli.runtime.network import RuntimeNetwork
from ds2cli.runtime.ragged import Ragged
from ds2cli.search.emission import check_emission
from ds2cli.text.vocab import Vocab

Array = NDArray[np.float32]


class EmissionStream:
    """Log-probabilities of a stream of samples; the same for any division into pieces.

    A forward-only network gives them `look_ahead` frames late, a bidirectional one at the end.
    """

    def __init__(self, experiment: Experiment, sample_rate: int | None = None) -> None:
        """sample_rate: of the samples (Hz); None: that of the network's features.

        UsageError if the network runs on a GPU, or is of another kind than ds2.
        """
        self.network, self.vocab = stream_network(experiment), experiment.vocab
        settings = FeatureConfig.from_saved(experiment.network.features, experiment.path)
        rate = settings.sample_rate
        self._features = FeatureStream(settings)
        self._resampler = None
        if sample_rate not in (None, rate):
            self._resampler = soxr.ResampleStream(sample_rate, rate, 1, dtype="float32", quality="HQ")
        self.state = self.network.begin()

    def advance(self, samples: Array) -> Array:
        """The log-probabilities (T, V) that are complete with the next samples (N,) float32, maybe none.

        BadUtterance "not-a-number" for samples that are NaN or infinite.
        """
        return self._emit(self.features(samples), end=False)

    def finish(self) -> Array:
        """The last ones (T, V); a stream shorter than a frame has none in all. Nothing may follow."""
        return self._emit(self.last_features(), end=True)

    def features(self, samples: Array) -> Array:
        """The first half of `advance`: the features (T, F) that are complete with the next samples, for `emit`."""
        return self._features.advance(self.resample(samples))

    def resample(self, samples: Array) -> Array:
        """Samples (N,) at the rate of the features."""
        return samples if self._resampler is None else self._resampler.resample_chunk(samples)

    def last_features(self) -> Array:
        """The first half of `finish`: the last features (T, F)."""
        parts = []
        if self._resampler is not None:
            parts.append(self._features.advance(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)))
        parts.append(self._features.finish())
        return np.concatenate(parts)

    def _emit(self, feats: Array, *, end: bool) -> Array:
        (found,) = emit([self], [feats], [end])
        if isinstance(found, BadUtterance):
            raise found
        return found


def compute_features(
    streams: Sequence[EmissionStream], samples: Sequence[Array], ends: Sequence[bool]
) -> list[Array | Exception]:
    """The features (T_i, F) of the next samples (N_i,) of several streams; the last ones of those that end with these.

    In the place of a stream that fails is its exception, BadUtterance "not-a-number" for NaN or infinite samples.
    """
    found: list[Array | Exception] = []
    for stream, part in zip(streams, samples, strict=True):
        try:
            found.append(stream.resample(part))
        except Exception as e:
            found.append(e)
    resampled = {i: part for i, part in enumerate(found) if not isinstance(part, Exception)}
    computed = advance_together([streams[i]._features for i in resampled], list(resampled.values()))
    for i, features in zip(resampled, computed, strict=True):
        found[i] = features
        if ends[i] and not isinstance(features, BadUtterance):
            try:
                found[i] = np.concatenate([features, streams[i].last_features()])
            except Exception as e:
                found[i] = e
    return found


def emit(streams: Sequence[EmissionStream], feats: Sequence[Array], ends: Sequence[bool]) -> list[Array | BadUtterance]:
    """The log-probabilities (T_i, V) of the next features (T_i', F) of several streams of one network, as one batch.

    ends: whether each stream ends with these. The result of a stream does not depend on the others; it is
    BadUtterance "not-a-number" if the network's output is not finite.
    """
    vocab = streams[0].vocab
    found: list[Array | BadUtterance] = [np.zeros((0, len(vocab)), np.float32)] * len(streams)
    if not (ready := [i for i, x in enumerate(feats) if len(x) or ends[i]]):
        return found
    logits = streams[0].network.advance_together(
        [streams[i].state for i in ready], [feats[i] for i in ready], [ends[i] for i in ready]
    )
    if not len(logits.rows):
        return found
    log_probs = Ragged(log_softmax(logits.rows), logits.counts)
    try:
        parts: list[Array | BadUtterance] = [*Ragged(check_emission(log_probs.rows, vocab), logits.counts).split()]
    except BadUtterance:
        # of one of the streams, or of several
        parts = [_check(x, vocab) for x in log_probs.split()]
    for i, part in zip(ready, parts, strict=True):
        found[i] = part
    return found


def _check(log_probs: Array, vocab: Vocab) -> Array | BadUtterance:
    try:
        return check_emission(log_probs, vocab)
    except BadUtterance as e:
        return e


class RecognizerStream:
    """Partial and final results of a stream of samples."""

    def __init__(self, emissions: EmissionStream, utterances: UtteranceStream) -> None:
        self.emissions, self.utterances, self.has_ended = emissions, utterances, False

    def advance(self, samples: Array | NDArray[np.int16]) -> list[Result]:
        """The results of the next samples (N,), one channel: float32, or int16; see `UtteranceStream.advance`.

        BadUtterance "not-a-number" for samples that are NaN or infinite. UsageError for other arrays than these, and
        after the end.
        """
        self._check_open()
        return self.utterances.advance(self.emissions.advance(to_float32(samples)))

    def finish(self) -> list[Result]:
        """The results at the end of the stream; nothing may follow."""
        self._check_open()
        self.has_ended = True
        return [*self.utterances.advance(self.emissions.finish(), end=True), *self.utterances.finish()]

    def _check_open(self) -> None:
        if self.has_ended:
            raise UsageError("this stream has ended: begin another one")


def to_float32(samples: NDArray[Any]) -> Array:
    """Samples (N,) as float32 from -1 to 1; UsageError if they are not int16 or floats, or of several channels."""
    samples = np.asarray(samples)
    if samples.ndim != 1 or samples.dtype not in (np.float32, np.float64, np.int16):
        raise UsageError(f"samples: expected int16 or float32, (N,), got {samples.dtype} of {samples.ndim} dimensions")
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / np.float32(32768)
    return samples.astype(np.float32, copy=False)


def stream_network(experiment: Experiment) -> RuntimeNetwork:
    """The network of an experiment for streams. UsageError if it cannot be used for them."""
    network = experiment.runtime
    if network is None:
        raise UsageError(f"{experiment.path}: streams need a network of the kind ds2, on a CPU (--device cpu)")
    return network
