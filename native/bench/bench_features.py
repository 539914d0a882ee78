"""Compare the kinds of features in time: `python native/bench/bench_features.py RECORDING [--rounds 500]`."""

import argparse
import os
import time

os.environ["OMP_NUM_THREADS"] = "1"

from ds2cli.audio.read import read
from ds2cli.config.features import FeatureConfig
from ds2cli.feats import fbank, kinds

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("recording")
parser.add_argument("--rounds", type=int, default=500)
args = parser.parse_args()
samples, rate = read(args.recording)
configs = {"spectrogram": FeatureConfig(sample_rate=rate)}
configs |= {f"fbank, {n} filters": fbank.Config(sample_rate=rate, num_mels=n) for n in (40, 80, 161)}
best = dict.fromkeys(configs, float("inf"))
for _ in range(args.rounds):
    # in turn: the clock of a shared machine varies
    for name, config in configs.items():
        start = time.perf_counter()
        kinds.compute(samples, config)
        best[name] = min(best[name], time.perf_counter() - start)
print(f"{len(samples) / rate:.1f} s at {rate} Hz: µs per second of audio on one thread, best of {args.rounds} rounds")
for name, seconds in best.items():
    print(f"{name:20}{1e6 * seconds * rate / len(samples):6.0f}{seconds / best['spectrogram']:7.2f}")
