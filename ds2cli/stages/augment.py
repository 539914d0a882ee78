"""Write augmented recordings to files, to listen to what `ds2 train` trains on."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import soundfile
from numpy.typing import NDArray

from ds2cli.audio.level import gain
from ds2cli.audio.recording import Recording, parse_recording
from ds2cli.config.augment import AugmentConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.feats import kinds
from ds2cli.io import open_out_bytes
from ds2cli.manifest import Row
from ds2cli.train.augmenter import Augmenter, AugmentPlan, count_frames, plan_augmentation
from ds2cli.train.pools import open_pools

MAX_PEAK = 0.99
"""16-bit files clip at 1: a recording with a higher peak is attenuated as a whole."""


@dataclass(frozen=True)
class _Utterance:
    id: str
    recording: Recording
    num_frames: int
    feats: str | None = None
    min_frames: int = 0


def open_augmenter(config: AugmentConfig, seed: int, features: FeatureConfig) -> Augmenter:
    """An augmenter for `write_augmented`, which reads recordings and no stored features."""
    noise, impulse_responses = open_pools(config)
    fill = np.zeros(kinds.num_bins(features), np.float32)
    return Augmenter(config, features, seed, fill, _no_features, noise, impulse_responses)


def write_augmented(
    augmenter: Augmenter, epoch: int, rows: Iterable[Row], folder: str, ledger: Ledger
) -> Iterator[tuple[str, str]]:
    """Write each recording, augmented as in that epoch of `ds2 train`, to FOLDER/ID.wav; yield its id and the changes.

    Files have 16 bits and the level of the features, -20 dBFS. Masks and other changes to the features are left out.
    """
    features = augmenter.features
    for row in rows:
        try:
            recording = parse_recording(row)
            if recording is None:
                raise BadUtterance("no-audio-filepath", "the field 'audio_filepath' is missing")
            utterance = _Utterance(row["id"], recording, count_frames(recording, features) or 0)
            samples = augmenter.waveform(utterance, epoch)
            samples = samples * gain(samples, features.level_db)
            peak = float(np.abs(samples).max(initial=0.0))
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
            continue
        ledger.kept += 1
        path = os.path.join(folder, row["id"].replace("/", "_") + ".wav")
        _write_wav(path, samples * np.float32(MAX_PEAK / max(peak, MAX_PEAK)), features.sample_rate)
        plan = plan_augmentation(augmenter.config, augmenter.seed, epoch, row["id"])
        yield row["id"], _describe(augmenter, plan, len(samples))


def _describe(augmenter: Augmenter, plan: AugmentPlan, num_samples: int) -> str:
    """The changes made, without noise and impulse responses that could not be read."""
    plan = replace(
        plan,
        impulse_response=None if augmenter.impulse_response(plan) is None else plan.impulse_response,
        snr_db=None if augmenter.noise_samples(plan, num_samples) is None else plan.snr_db,
    )
    parts = [f"speed {plan.speed:g}"] if plan.speed != 1 else []
    parts += [f"shift {1000 * plan.shift_s:.1f} ms"] if plan.shift_s else []
    parts += ["reverberation"] if plan.impulse_response is not None else []
    parts += [f"noise at {plan.snr_db:.1f} dB"] if plan.snr_db is not None else []
    return ", ".join(parts) or "unchanged"


def _write_wav(path: str, samples: NDArray[np.float32], rate: int) -> None:
    data = io.BytesIO()
    soundfile.write(data, samples, rate, "PCM_16", format="WAV")
    with open_out_bytes(path) as f:
        f.write(data.getvalue())


def _no_features(ref: str) -> NDArray[np.float32]:
    raise AssertionError(ref)
