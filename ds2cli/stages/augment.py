"""Open what augmentation mixes in, and hear what it makes of utterances."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import soundfile
from numpy.typing import NDArray

from ds2cli.audio.recording import Recording, recording
from ds2cli.config.augment import AugmentConfig
from ds2cli.config.featurize import SpectrogramConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.feats.spectrogram import gain
from ds2cli.io import open_out_bytes
from ds2cli.manifest import Row
from ds2cli.train.augmenter import Augmenter, AugmentPlan, draw, frames_in
from ds2cli.train.pools import open_pools

LOUDEST = 0.99
"""A file of 16 bits holds no more; what would be louder is written more quietly as a whole."""


@dataclass(frozen=True)
class _Utterance:
    id: str
    recording: Recording
    num_frames: int
    feats: str | None = None
    least: int = 1


def listener(config: AugmentConfig, seed: int, features: SpectrogramConfig) -> Augmenter:
    """An augmenter for `hear`, which reads recordings only."""
    noise, rooms = open_pools(config)
    return Augmenter(config, features, seed, np.zeros(features.num_bins, np.float32), _no_features, noise, rooms)


def hear(make: Augmenter, epoch: int, rows: Iterable[Row], folder: str, ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Write each row's recording as `ds2 train` would see it in that epoch, to FOLDER/ID.wav; yield id and what it got.

    At the level of the features, -20 dBFS, in 16 bits. Masks and what else is done to spectrograms cannot be heard.
    """
    features = make.features
    for row in rows:
        try:
            of = recording(row)
            if of is None:
                raise BadUtterance("no-audio-filepath", "the field 'audio_filepath' is missing")
            utterance = _Utterance(row["id"], of, frames_in(of, features) or 0)
            sound = make.sound(utterance, epoch)
            sound = sound * gain(sound, features.level_db)
            peak = float(np.abs(sound).max(initial=0.0))
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
            continue
        ledger.kept += 1
        path = os.path.join(folder, row["id"].replace("/", "_") + ".wav")
        _write(path, sound * np.float32(LOUDEST / max(peak, LOUDEST)), features.sample_rate)
        yield row["id"], _said(make, draw(make.config, make.seed, epoch, row["id"]), len(sound))


def _said(make: Augmenter, drawn: AugmentPlan, num_samples: int) -> str:
    """What was mixed in; not what was to be, and could not be read."""
    drawn = replace(
        drawn,
        room=None if make.room(drawn) is None else drawn.room,
        snr_db=None if make.pieces(drawn, num_samples) is None else drawn.snr_db,
    )
    parts = [f"speed {drawn.speed:g}"] if drawn.speed != 1 else []
    parts += [f"shift {1000 * drawn.shift_s:.1f} ms"] if drawn.shift_s else []
    parts += ["room"] if drawn.room is not None else []
    parts += [f"noise at {drawn.snr_db:.1f} dB"] if drawn.snr_db is not None else []
    return ", ".join(parts) or "as it is"


def _write(path: str, samples: NDArray[np.float32], rate: int) -> None:
    data = io.BytesIO()
    soundfile.write(data, samples, rate, "PCM_16", format="WAV")
    with open_out_bytes(path) as f:
        f.write(data.getvalue())


def _no_features(ref: str) -> NDArray[np.float32]:
    raise AssertionError(ref)
