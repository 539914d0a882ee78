"""Settings of the rules that end an utterance of a live stream."""

from __future__ import annotations

from dataclasses import dataclass

from ds2cli.config.base import Config, setting


@dataclass(frozen=True, kw_only=True)
class EndpointConfig(Config):
    """When an utterance of a live stream ends; 0 switches a rule off."""

    # Kaldi's rules end after 0.5 to 2 s, sherpa-onnx after 1.2 s, FunASR after 0.8 s, OpenAI's server after 0.5 s
    endpoint_silence: float = setting(
        0.8, help="End an utterance after this much silence that follows a word (s); 0: never.", min=0, max=60
    )
    endpoint_no_speech: float = setting(
        5.0, help="Restart the search after this long without a word (s); 0: never.", min=0, max=3600
    )
    endpoint_length: float = setting(
        20.0, help="Divide an utterance of this length (s) at its longest pause; 0: never.", min=0, max=600
    )
