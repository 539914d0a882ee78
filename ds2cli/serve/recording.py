"""The text of an uploaded recording that has been decoded: that of `ds2 transcribe`, also of a long one. N samples."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli import memory
from ds2cli.audio.stream import Blocks
from ds2cli.config.decode import TranscribeConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.errors import BadUtterance
from ds2cli.feats import kinds
from ds2cli.manifest import Row
from ds2cli.recognizer.bandwidth import describe_mismatch, find_band_mismatch
from ds2cli.recognizer.decoder import Search
from ds2cli.recognizer.emissions import Emission
from ds2cli.recognizer.experiment import Experiment
from ds2cli.search.emission import check_emission
from ds2cli.serve.decode import DecodedAudio
from ds2cli.stages.decode import make_decoder
from ds2cli.stages.long_recording import Listener, LongTranscriber

NAME = "the recording"

log = logging.getLogger("ds2cli.serve")


@dataclass(frozen=True)
class RecordingTranscriber:
    """Transcribes recordings with the network and the settings of a server; threads may share it."""

    settings: TranscribeConfig
    experiment: Experiment
    features: FeatureConfig
    warn: Callable[[str], None]

    def __call__(
        self, audio: DecodedAudio, search: Search, check: Callable[[], None], notify: Callable[[Row], None]
    ) -> Row:
        """`duration` (s), `pred_text`, `pred_score`, `pred_words`, `pred_conf`, and `segments` of a long recording.

        check: called before each piece of work; may raise to stop.
        notify: gets the fields of each part of the text as soon as it is final; together they are the text.
        BadUtterance if it is too short, or does not fit in memory.
        """
        decode = make_decoder(self.settings, self.experiment, search)
        if not audio.is_long:
            row = memory.fit_utterance(lambda: self._transcribe(audio, decode, check), NAME, memory.SHORTER)
            notify(row)
            return {"duration": audio.duration_s, **row}

        def read() -> Iterator[NDArray[np.float32]]:
            for block in audio.blocks():
                check()
                yield block

        @contextlib.contextmanager
        def opener(*_: object) -> Iterator[Blocks]:
            yield Blocks(audio.rate, audio.duration_s, read())

        def notify_of(_: Row, part: Row) -> None:
            check()
            notify(part)

        listener = Listener(self.warn, notify_of, lambda *_: check(), by_segment=True)
        transcribe = LongTranscriber(self.settings, None, self.features, self.experiment, decode, listener, opener)
        row, _, features = transcribe({"id": NAME, "audio_filepath": NAME})
        self._check_band(features)
        return {**row, "duration": audio.duration_s}

    def _transcribe(self, audio: DecodedAudio, decode: Callable[[Emission], Row], check: Callable[[], None]) -> Row:
        # none are left of a single sample at a high rate
        samples = np.concatenate([np.zeros(0, np.float32), *audio.blocks()])
        features = kinds.compute(samples, self.features)
        self._check_band(features)
        (log_probs,) = self.experiment.compute_emissions([features], check)
        if isinstance(log_probs, BadUtterance):
            raise log_probs
        check()
        vocab, step_s = self.experiment.vocab, self.experiment.network.step_s
        return decode(Emission({}, check_emission(log_probs, vocab), step_s))

    def _check_band(self, features: NDArray[np.float32]) -> None:
        if bands := find_band_mismatch(features, self.experiment):
            log.warning("upload: %s", describe_mismatch(*bands))
