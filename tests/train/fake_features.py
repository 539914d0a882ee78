"""What utterances look like to the tests of readers; in a file of its own, as other processes must find it."""

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
    """Gives features that follow from (epoch, utterance); some names kill, fail, or take their time."""

    def __call__(self, utterance, epoch):
        what = utterance.id.split("-")[0]
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "unreadable":
            raise BadUtterance("truncated-audio", "it ends early")
        elif what == "bug":
            raise KeyError("a bug\nof two lines")
        elif what == "slow":
            time.sleep(60)
        elif what == "nan":
            return np.full((utterance.num_frames, 3), np.nan, np.float32)
        rng = np.random.default_rng([epoch, *utterance.id.encode()])
        return rng.normal(size=(utterance.num_frames, 3)).astype(np.float32)

    def frames(self, utterance, epoch):
        return utterance.num_frames


class BornDead(FakeFeatures):
    """Cannot be unpickled: no process that reads with it gets as far as reading."""

    def __reduce__(self):
        return os._exit, (3,)
