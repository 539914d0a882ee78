"""The clip of a bundle: a short recording with what the network makes of it, computed again when the bundle is opened.

It finds what would otherwise be a bad error rate: features computed in another way by another version, weights that are
not those of the export, a library whose products are wrong on this processor.
N samples, T frames, F bins, T' output steps, V symbols.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ds2cli.config.features import FeatureConfig
from ds2cli.errors import BadUtterance, DataError
from ds2cli.experiment_files import CLIP, EXPECTED, NETWORK, ExperimentFiles
from ds2cli.feats import kinds
from ds2cli.recognizer.vocabulary import read_tokens
from ds2cli.text.vocab import TOKENS, Vocab

Array = NDArray[np.float32]
Engine = Callable[[Array], Array]
"""Computes the log-probabilities (T', V) of features (T, F)."""

TOLERANCE = 1e-3
"""Largest difference of a log-probability (nats) in float32: machines and libraries differ by 2e-5."""

COARSE_TOLERANCE = 0.5
"""The same where products or weights are rounded to bfloat16, float16 or int8, which changes them by 0.1."""

FEATURE_TOLERANCE = 0.01
"""Largest mean difference of the features: log powers near the floor may differ more, and matter less."""

MAX_CLIP_S = 30.0


class Expected(NamedTuple):
    """What was computed from the clip at the export: features (T, F), log-probabilities (T', V)."""

    features: Array
    log_probs: Array


def encode_clip(samples: Array, rate: int) -> bytes:
    """A WAV file of samples (N,) in -1 … 1, rounded to 16 bits."""
    rounded = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(rate)
        f.writeframes(rounded.tobytes())
    return out.getvalue()


def decode_clip(data: bytes, rate: int) -> Array:
    """The samples (N,) of a file written by `encode_clip`; DataError if it is no such file, or of another rate."""
    try:
        with wave.open(io.BytesIO(data)) as f:
            found = f.getnchannels(), f.getsampwidth(), f.getframerate()
            raw = f.readframes(f.getnframes())
    except (wave.Error, EOFError, ValueError) as e:
        raise DataError(f"not a WAV file of 16-bit samples: {e}") from e
    if found != (1, 2, rate):
        raise DataError(f"channels, bytes per sample and rate are {found}, expected {(1, 2, rate)}")
    if len(raw) % 2 or len(raw) > 2 * rate * MAX_CLIP_S:
        raise DataError(f"it has {len(raw)} bytes of samples, expected at most {MAX_CLIP_S:g} s")
    return (np.frombuffer(raw, "<i2") / np.float32(32768)).astype(np.float32)


def compute_expected(clip: bytes, features: FeatureConfig, engine: Engine) -> Expected:
    """What the network makes of a clip; DataError if it is too short."""
    samples = decode_clip(clip, features.sample_rate)
    try:
        computed = kinds.compute(samples, features)
    except BadUtterance as e:
        raise DataError(e.detail) from e
    return Expected(computed, engine(computed))


def encode_expected(expected: Expected) -> bytes:
    """A safetensors file of both arrays."""
    return save({name: np.ascontiguousarray(x, np.float32) for name, x in expected._asdict().items()})


def decode_expected(data: bytes) -> Expected:
    """The inverse of `encode_expected`; DataError if it is no such file."""
    try:
        found = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as e:
        raise DataError(f"not a safetensors file: {' '.join(str(e).split())[:200]}") from e
    if found.keys() != set(Expected._fields):
        raise DataError(f"expected the tensors {' and '.join(Expected._fields)}")
    for name, x in found.items():
        if x.dtype != np.float32 or x.ndim != 2 or not x.size or not np.isfinite(x).all():
            raise DataError(f"{name}: expected finite float32 numbers in two dimensions")
    return Expected(**found)


def check_bundle(
    files: ExperimentFiles, vocab: Vocab, features: Mapping[str, Any], engine: Engine, *, is_rounded: bool = False
) -> None:
    """Compute the clip of a bundle again; DataError that says what differs, and by how much.

    vocab, features: symbols and settings of the features, of the network in the bundle.  engine: that network.
    is_rounded: whether it works in less than float32; the differences may then be larger.
    """
    if read_tokens(files) != vocab:
        raise DataError(f"{files.where(TOKENS)}: these are not the symbols of {NETWORK} (ds2 export writes both)")
    data = {name: files.read(name) for name in (CLIP, EXPECTED)}
    where, tolerance = files.where(CLIP), COARSE_TOLERANCE if is_rounded else TOLERANCE
    settings = FeatureConfig.from_saved(features, files.where(NETWORK))
    try:
        samples = decode_clip(data[CLIP] or b"", settings.sample_rate)
        # before anything is computed, which depends on settings that may be hostile
        frames = kinds.num_frames(len(samples), settings), kinds.num_bins(settings)
        expected = decode_expected(data[EXPECTED] or b"")
        if expected.features.shape != frames:
            raise DataError(f"features of {frames} frames and bins, expected {expected.features.shape}")
        computed = kinds.compute(samples, settings)
        _compare_features(computed, expected.features)
        _compare_log_probs(engine(computed), expected.log_probs, vocab, tolerance)
    except (DataError, BadUtterance) as e:
        made = str(files.card.get("ds2cli"))[:20]
        problem = e.detail if isinstance(e, BadUtterance) else e
        raise DataError(
            f"{where}: the network does not give what it gave when it was exported by ds2cli {made}: {problem} "
            "(use that version, or export it again)"
        ) from e


def _compare_features(found: Array, expected: Array) -> None:
    if found.shape != expected.shape:
        raise DataError(f"features of {found.shape} frames and bins, expected {expected.shape}")
    difference = float(np.abs(found.astype(np.float64) - expected).mean())
    if not difference <= FEATURE_TOLERANCE:
        raise DataError(f"its features differ by {difference:.2g} in the mean, tolerated is {FEATURE_TOLERANCE:g}")


def _compare_log_probs(found: Array, expected: Array, vocab: Vocab, tolerance: float) -> None:
    if found.shape != expected.shape:
        raise DataError(f"log-probabilities of {found.shape} steps and symbols, expected {expected.shape}")
    differences = np.abs(found.astype(np.float64) - expected)
    # NaN, too
    if not differences.max() <= tolerance:
        step, symbol = np.unravel_index(int(np.argmax(differences)), differences.shape)
        raise DataError(
            f"the log-probability of {vocab.symbols[symbol]!r} at step {step} is {found[step, symbol]:.4g}, "
            f"expected {expected[step, symbol]:.4g} (tolerated is a difference of {tolerance:g})"
        )
