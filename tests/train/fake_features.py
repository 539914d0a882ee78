"""Features for the tests of data-loader processes; a separate module, because other processes must import it."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

from ds2cli.errors import BadUtterance
from ds2cli.train.examples import Utterance


def utterance(name, frames=7):
    return Utterance(name, "", frames, np.arange(1, 1 + frames // 3, dtype=np.int32), "a" * frames)


class FakeFeatures:
    """Features that follow from (epoch, utterance id); ids that begin with a keyword kill, fail or delay reading."""

    def __call__(self, utterance, epoch):
        keyword = utterance.id.split("-")[0]
        if keyword == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif keyword == "unreadable":
            raise BadUtterance("truncated-audio", "it ends early")
        elif keyword == "bug":
            raise KeyError("a bug\nof two lines")
        elif keyword == "slow":
            time.sleep(60)
        elif keyword == "nan":
            return np.full((utterance.num_frames, 3), np.nan, np.float32)
        rng = np.random.default_rng([epoch, *utterance.id.encode()])
        return rng.normal(size=(utterance.num_frames, 3)).astype(np.float32)

    def frames(self, utterance, epoch):
        return utterance.num_frames


class ExitsWhenUnpickled(FakeFeatures):
    """Ends every data-loader process before it can read."""

    def __reduce__(self):
        return os._exit, (3,)
