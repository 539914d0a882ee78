"""Cost of augmentation during training on one core, step by step, on real recordings.

    python native/bench/bench_augment.py --data ../shared/data [--seconds 3]

Prints microseconds per second of audio, and the speed relative to real time. The data folder needs
LibriSpeech/train-clean-100, noise and rir; the environment variable DS2_TEST_DATA gives its default.
"""

from __future__ import annotations

import ds2cli  # noqa: F401  # before torch, whose OpenMP threads read how to wait

# isort: split
import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import torch
from timing import time_interleaved

from ds2cli.audio.noise import draw_noise, mix
from ds2cli.audio.perturb import change_speed, shift_samples
from ds2cli.audio.pool import open_pool
from ds2cli.audio.read import read
from ds2cli.audio.recording import Recording
from ds2cli.audio.reverb import reverberate
from ds2cli.config.augment import AugmentConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.feats.spectrogram import compute as log_power
from ds2cli.train.augmenter import Augmenter, count_frames
from ds2cli.train.spec_augment import spec_augment

RATE = 16000
DATA = Path(os.environ.get("DS2_TEST_DATA", "../shared/data"))


@dataclass(frozen=True)
class Clip:
    """An utterance as far as an augmenter needs it (`Example`)."""

    id: str
    recording: Recording
    num_frames: int
    feats: str | None = None
    min_frames: int = 1


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="data folder")
    parser.add_argument("--seconds", type=float, default=3.0, help="time per row (s)")
    parser.add_argument("--clips", type=int, default=40, help="number of recordings")
    args = parser.parse_args()
    torch.set_num_threads(1)

    files = sorted((args.data / "LibriSpeech/train-clean-100").rglob("*.flac"))[: args.clips]
    waves = [read(path)[0] for path in files]
    seconds = sum(map(len, waves)) / RATE
    noise, impulse_responses = (
        open_pool([{"audio_filepath": str(path)} for path in sorted((args.data / name).iterdir())], name)
        for name in ("noise", "rir")
    )
    spectrogram = FeatureConfig()
    recordings = [
        Recording(str(path), duration_s=len(x) / RATE, rate=RATE) for path, x in zip(files, waves, strict=True)
    ]
    clips = [Clip(path.stem, r, count_frames(r, spectrogram) or 0) for path, r in zip(files, recordings, strict=True)]
    features = [log_power(x, spectrogram) for x in waves]
    fill = features[0].mean(0)
    masks = AugmentConfig(freq_masks=2, time_masks=2)
    speed_and_warp = AugmentConfig(speed=0.1, warp=0.1)
    rng = np.random.default_rng(0)

    def for_all(items: list, work: Callable) -> Callable[[], None]:
        def run() -> None:
            for item in items:
                work(item)

        return run

    def augment_all(config: AugmentConfig) -> Callable[[], None]:
        augment = Augmenter(config, spectrogram, 0, fill, lambda ref: features[0], noise, impulse_responses)
        epoch = count()
        return lambda: for_all(clips, lambda clip, at=next(epoch): augment(clip, at))()

    three_speeds = (0.9, 1.0, 1.1)
    paper = AugmentConfig(noise="n")
    all_augmentation = replace(masks, noise="n", noise_share=1.0, rir="r", rir_share=1.0)
    workloads = {
        "read FLAC": for_all(files, read),
        "speed 0.9": for_all(waves, lambda x: change_speed(x, 0.9, RATE, RATE)),
        "speed 1.1": for_all(waves, lambda x: change_speed(x, 1.1, RATE, RATE)),
        "shift": for_all(waves, lambda x: shift_samples(x, 80)),
        "room": for_all(waves, lambda x: reverberate(x, impulse_responses.read_response(int(rng.integers(4)), RATE))),
        "noise: read from FLAC": for_all(waves, lambda x: draw_noise(noise, len(x), RATE, rng)),
        "noise: mix": for_all(waves, lambda x: mix(x, x, 10.0)),
        "features": for_all(waves, lambda x: log_power(x, spectrogram)),
        "masks": for_all(features, lambda x: spec_augment(x, fill, masks, rng, 1)),
        "speed and warp of the spectrogram": for_all(features, lambda x: spec_augment(x, fill, speed_and_warp, rng, 1)),
        "all: features from the recording, no augmentation": augment_all(AugmentConfig()),
        "all: noise on 40 % of utterances (the paper)": augment_all(paper),
        "all: noise on every utterance, 3 speeds": augment_all(replace(paper, noise_share=1.0, speeds=three_speeds)),
        "all: noise and room on every utterance, 3 speeds, shift, masks": augment_all(
            replace(all_augmentation, speeds=three_speeds, shift_ms=5, gain_db=3)
        ),
    }  # fmt: skip
    print(f"{len(files)} recordings, {seconds / len(files):.1f} s on average, one thread\n")
    print("| step | µs per second of audio, best | median | speed over real time |\n|---|---|---|---|")
    for name, time in time_interleaved(workloads, args.seconds).items():
        best, median = (1e3 * t / seconds for t in time)
        print(f"| {name} | {best:.0f} | {median:.0f} | {1e6 / median:.0f} |")


if __name__ == "__main__":
    main()
