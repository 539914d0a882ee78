"""Recognize speech from Python: `from ds2cli import Recognizer`. Notation: N samples, C channels."""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.source import PipedAudio
from ds2cli.config.base import build
from ds2cli.config.captions import CAPTION_FILES, OF_SUBTITLES
from ds2cli.config.decode import TranscribeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.recognizer.decoder import build_search, resolve_settings
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.stream import EmissionStream, RecognizerStream
from ds2cli.recognizer.utterances import Result, UtteranceStream
from ds2cli.search.endpoint import EndpointRules
from ds2cli.stages import transcribe as stage
from ds2cli.stages.long_recording import Listener

if TYPE_CHECKING:
    from ds2cli.manifest import Row

__all__ = ["Recognizer", "RecognizerStream", "Result", "Transcript"]

Samples = NDArray[np.float32] | NDArray[np.int16]

HIGHEST_RATE = 768_000

OF_THE_COMMAND = (*CAPTION_FILES, *OF_SUBTITLES, "dropped", "json", "live", "max_bad", "partials", "raw_rate")
"""Settings of `ds2 transcribe` for what it reads and writes, which have no effect here."""


@dataclass(frozen=True)
class Transcript:
    """The text of a recording.

    duration: of the recording (s). score: of the text (nats). words: {`word`, `start`, `end` (s), `conf`} each;
    confidence: their mean; both None with `timestamps=False`. segments: of a long recording, the parts that it was
    divided into, {`start`, `end` (s), `text`, …} each. nbest: with `nbest=N`: `text`, `score`, `am`, `lm` (nats) each.
    """

    text: str
    duration: float
    score: float
    words: list[dict[str, Any]] | None = None
    confidence: float | None = None
    segments: list[dict[str, Any]] = field(default_factory=list, repr=False)
    nbest: list[dict[str, Any]] | None = field(default=None, repr=False)


class Recognizer:
    """A trained network with its search, opened once; threads may share it.

    On a CPU (the default) it loads no torch, unless the network is of a kind that a plugin added.

        recognizer = Recognizer("out.ds2")
        print(recognizer.transcribe("a.wav").text)
    """

    def __init__(self, path: str | os.PathLike[str], **settings: Any) -> None:
        """path: a bundle (.ds2), an experiment folder or a .safetensors file.

        settings: those of `ds2 transcribe` by name, such as `lm="5gram.bin"`, `beam=200`, `hotwords="names.txt"`,
        `precision="int8"`, `nbest=5`; but `timestamps` is true by default, as word times cost little here.
        UsageError for a wrong setting, DataError for a network or a language model that cannot be read, or for a
        bundle whose network does not compute what it did when the bundle was made.
        """
        self.path = os.fspath(path)
        if ignored := [name for name in settings if name in OF_THE_COMMAND]:
            raise UsageError(f"Recognizer: {ignored[0]} only applies to the command ds2 transcribe")
        values = {"timestamps": True, "device": "cpu", **settings}
        config = build(TranscribeConfig, ("Recognizer", values))
        self.config = resolve_settings(config, self.path, _warn)
        self.experiment = Experiment(self.path, device=config.device, precision=config.precision, avoid_torch=True)
        self.search = build_search(self.config, self.experiment, _warn)
        # an error now, and not with the first recording; threads would each load it
        _ = self.experiment.runtime or self.experiment.trained

    def transcribe(self, audio: str | os.PathLike[str] | bytes | Samples, sample_rate: int | None = None) -> Transcript:
        """The text of one recording, which may be long.

        audio: the path of a file in any format, the bytes of one, or samples (N,) or (N, C), int16 or float32 from -1
        to 1, at `sample_rate` (Hz). The result is that of `ds2 transcribe`.
        BadUtterance if it cannot be read, or is too short.
        """
        row: Row = {"id": "audio", "audio_filepath": _as_source(audio, sample_rate)}
        ledger = Ledger(needs_rows=False)
        for found in stage.run(self.config, [row], ledger, self.experiment, self.search, Listener(_warn)):
            return Transcript(
                found["pred_text"],
                found["duration"],
                found["pred_score"],
                found.get("pred_words"),
                found.get("pred_conf"),
                found.get("segments", []),
                found.get("nbest"),
            )
        dropped = ledger.rows[0]
        raise BadUtterance(dropped["reason"], dropped["detail"])

    def stream(self, sample_rate: int = 16000, *, partials: bool = True, **endpoints: float) -> RecognizerStream:
        """Begin to recognize a stream of samples at `sample_rate` (Hz), one channel.

        `advance(samples)` returns what is new with the next samples, `finish()` the rest at the end. A forward-only
        network gives results while it listens, a bidirectional one only at the end.
        endpoints: when an utterance ends, `endpoint_silence`, `endpoint_no_speech`, `endpoint_length` (s; 0: never),
        by default as in the settings of the recognizer. partials: whether to return partial texts as well.
        UsageError for a wrong setting or rate, or a network that runs on a GPU or is of another kind than ds2.
        """
        _check_rate(sample_rate)
        rules = EndpointRules.changed(self.config, endpoints, "Recognizer.stream")
        emissions = EmissionStream(self.experiment, sample_rate)
        utterances = UtteranceStream(
            self.config,
            self.search,
            self.experiment.vocab,
            self.experiment.network.step_s,
            rules,
            partials=partials,
        )
        return RecognizerStream(emissions, utterances)


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=3)


def _check_rate(sample_rate: Any) -> None:
    if not isinstance(sample_rate, int | np.integer) or not 0 < sample_rate <= HIGHEST_RATE:
        raise UsageError(f"sample_rate: expected a number of Hz, 1 to {HIGHEST_RATE}, got {sample_rate!r}")


def _as_source(audio: Any, sample_rate: int | None) -> str:
    """What the stage reads: a path, or the bytes of a file in memory."""
    if isinstance(audio, str | os.PathLike):
        if sample_rate is not None:
            raise UsageError("sample_rate only applies to samples: a file says its own")
        return os.fspath(audio)
    source = PipedAudio("<audio>")
    if isinstance(audio, bytes):
        source.data = audio
        return source
    if sample_rate is None:
        raise UsageError("samples need their sample_rate, such as transcribe(samples, 16000)")
    _check_rate(sample_rate)
    samples = np.asarray(audio)
    if samples.dtype not in (np.float32, np.float64, np.int16) or samples.ndim not in (1, 2):
        raise UsageError(
            f"samples: expected int16 or float32, (N,) or (N, C), got {samples.dtype} of {samples.ndim} dimensions"
        )
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, "PCM_16" if samples.dtype == np.int16 else "FLOAT", format="WAV")
    source.data = file.getvalue()
    return source
