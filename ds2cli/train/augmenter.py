"""The features of utterances, augmented for one epoch. N samples, M samples of an impulse response, T frames, F bins.

Recording -> speed -> shift -> reverberation -> noise -> level -> features -> `spec_augment`, which stretches and masks
them. Stored features are used when nothing that an utterance gets in the epoch needs its recording.

Every choice follows from (seed, epoch, utterance id) alone: not from the position in the manifest, the batch, the
process or the thread, nor from what was drawn for other utterances. A resumed run, or one with more readers or ranks,
therefore computes the same features to the last bit.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.noise import draw_noise, mix
from ds2cli.audio.perturb import shift_samples
from ds2cli.audio.pool import RecordingPool
from ds2cli.audio.recording import Recording, count_samples, read_samples
from ds2cli.audio.reverb import reverberate
from ds2cli.config.augment import AugmentConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.errors import BadUtterance
from ds2cli.feats import kinds
from ds2cli.train.spec_augment import draw_speed, spec_augment

Features = NDArray[np.float32]

NO_AUDIO = ("no-audio", "the row has no audio_filepath, which noise, impulse responses, speeds and shifts need")
"""Reason code and detail of an utterance whose augmentation needs a recording it does not have."""


class Example(Protocol):
    """The part of an utterance that augmentation needs."""

    @property
    def id(self) -> str:
        """Its id, which all random choices follow from."""

    @property
    def feats(self) -> str | None:
        """Reference to stored features; None or "" when only the recording is known."""

    @property
    def num_frames(self) -> int:
        """Frames of its features; when none are stored, `count_frames` of its recording."""

    @property
    def recording(self) -> Recording | None:
        """Its recording; None when only features are known."""

    @property
    def min_frames(self) -> int:
        """Frames that its labels need."""


@dataclass(frozen=True)
class AugmentPlan:
    """The augmentation of one utterance in one epoch.

    impulse_response: position in the pool, 0 to 1, None for no reverberation; snr_db: None for no noise; seed: for
    choices made while the features are computed.
    """

    speed: float
    shift_s: float
    impulse_response: float | None
    snr_db: float | None
    seed: tuple[int, ...]

    @property
    def needs_audio(self) -> bool:
        """Whether stored features cannot be used."""
        return self.speed != 1 or self.shift_s != 0 or self.impulse_response is not None or self.snr_db is not None

    def noise_rng(self) -> np.random.Generator:
        """Random numbers that choose the noise."""
        return np.random.default_rng((*self.seed, 0))

    def features_rng(self) -> np.random.Generator:
        """Random numbers for `spec_augment`."""
        return np.random.default_rng((*self.seed, 1))


def plan_augmentation(config: AugmentConfig, seed: int, epoch: int, utterance_id: str) -> AugmentPlan:
    """Choose the augmentation of an utterance; changing one setting does not change what is drawn for the others."""
    # batch planning calls this for every utterance, and a hash takes a tenth of the time of a numpy generator
    words = struct.unpack("<8Q", hashlib.blake2b(f"{seed} {epoch} {utterance_id}".encode()).digest())
    speed, shift, with_response, response, with_noise, snr = ((word >> 11) / (1 << 53) for word in words[:6])
    return AugmentPlan(
        speed=config.speeds[int(speed * len(config.speeds))],
        shift_s=config.shift_ms / 1000 * (2 * shift - 1),
        impulse_response=response if config.rir and with_response < config.rir_share else None,
        snr_db=config.snr_low + snr * (config.snr_high - config.snr_low)
        if config.noise and with_noise < config.noise_share
        else None,
        seed=words[6:],
    )


@dataclass(frozen=True)
class Augmenter:
    """Computes the features of utterances. Safe to share between threads and to send to other processes.

    features: settings of the stored features, and of those computed here.  fill: (F,), values that masks write; None
    for the means of the utterance.
    read: returns stored features (T, F) by their reference.  noise, impulse_responses: the recordings of `config.noise`
    and `config.rir`.  channel: channel of a multi-channel file, None for the mean of all.
    """

    config: AugmentConfig
    features: FeatureConfig
    seed: int
    fill: Features | None
    read: Callable[[str], Features]
    noise: RecordingPool | None = None
    impulse_responses: RecordingPool | None = None
    channel: int | None = None

    def __post_init__(self) -> None:
        assert self.noise or not self.config.noise, "config.noise needs its recordings"
        assert self.impulse_responses or not self.config.rir, "config.rir needs its recordings"

    def __call__(self, utterance: Example, epoch: int) -> Features:
        """The features (T, F) float32 of an utterance, augmented for an epoch; a writable copy.

        Raises BadUtterance: reason codes of reading the recording or its features, "no-audio", "too-short",
        "not-a-number".
        """
        plan = plan_augmentation(self.config, self.seed, epoch, utterance.id)
        if utterance.feats and not plan.needs_audio:
            x = self.read(utterance.feats)
        else:
            x = kinds.compute(self._waveform(utterance, plan), self.features)
        return spec_augment(x, self.fill, self.config, plan.features_rng(), utterance.min_frames)

    def unaugmented(self, utterance: Example) -> Features:
        """The features (T, F) without augmentation: stored ones, or what `ds2 featurize` would store."""
        if utterance.feats:
            return self.read(utterance.feats)
        rate = self.features.sample_rate
        return kinds.compute(read_samples(_recording(utterance), rate, 1.0, self.channel), self.features)

    def waveform(self, utterance: Example, epoch: int) -> Features:
        """The augmented samples (N,) at features.sample_rate that an epoch's features are computed from; any level."""
        return self._waveform(utterance, plan_augmentation(self.config, self.seed, epoch, utterance.id))

    def frames(self, utterance: Example, epoch: int) -> int:
        """Number of frames the call will return, without reading anything; batches are planned with it.

        Exact for rows of `ds2 prepare`. Without a duration it is derived from num_frames and may be off by one.
        """
        plan = plan_augmentation(self.config, self.seed, epoch, utterance.id)
        frames = utterance.num_frames
        if plan.speed != 1:
            frames = self._frames_at(utterance, self._allowed_speed(utterance, plan))
        if not self.config.speed:
            return frames
        speed = draw_speed(self.config, plan.features_rng(), frames, utterance.min_frames)
        return frames if speed == 1 else max(1, round(frames / speed))

    @property
    def keeps_lengths(self) -> bool:
        """Whether `frames` is `num_frames` in every epoch."""
        return not self.config.speed and all(speed == 1 for speed in self.config.speeds)

    def impulse_response(self, plan: AugmentPlan) -> Features | None:
        """The planned impulse response (M,); None without one, or when it cannot be read."""
        if plan.impulse_response is None or self.impulse_responses is None:
            return None
        index = int(plan.impulse_response * len(self.impulse_responses))
        return self.impulse_responses.read_response(index, self.features.sample_rate)

    def noise_samples(self, plan: AugmentPlan, num_samples: int) -> Features | None:
        """The planned noise (num_samples,); None without any, or when none can be read."""
        if plan.snr_db is None or self.noise is None:
            return None
        return draw_noise(self.noise, num_samples, self.features.sample_rate, plan.noise_rng())

    def _waveform(self, utterance: Example, plan: AugmentPlan) -> Features:
        rate = self.features.sample_rate
        x = read_samples(_recording(utterance), rate, self._allowed_speed(utterance, plan), self.channel)
        if plan.shift_s:
            x = shift_samples(x, round(plan.shift_s * rate))
        if (response := self.impulse_response(plan)) is not None:
            x = reverberate(x, response)
        if plan.snr_db is not None and (noise := self.noise_samples(plan, len(x))) is not None:
            x = mix(x, noise, plan.snr_db)
        return x

    def _allowed_speed(self, utterance: Example, plan: AugmentPlan) -> float:
        """The planned speed; 1 when it would leave too few frames for the labels."""
        enough = plan.speed <= 1 or self._frames_at(utterance, plan.speed) >= utterance.min_frames
        return plan.speed if enough else 1.0

    def _frames_at(self, utterance: Example, speed: float) -> int:
        exact = None if utterance.recording is None else count_frames(utterance.recording, self.features, speed)
        if exact is not None:
            return exact
        # halfway between the shortest and the longest recording with this many frames
        size = self.features.window_samples + (utterance.num_frames - 0.5) * self.features.hop_samples
        return kinds.num_frames(round(size / speed), self.features)


def count_frames(recording: Recording, features: FeatureConfig, speed: float = 1.0) -> int | None:
    """Number of frames of a recording according to its row.

    Its number of samples is that of `audio.recording.count_samples`; None when the row has no duration.
    """
    total = count_samples(recording, features.sample_rate, speed)
    return None if total is None else kinds.num_frames(total, features)


def _recording(utterance: Example) -> Recording:
    if utterance.recording is None:
        raise BadUtterance(*NO_AUDIO)
    return utterance.recording
