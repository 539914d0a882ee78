"""Settings of `ds2 export`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ds2cli.config.base import Config, setting


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Config):
    """Make a bundle of an experiment, or an ONNX model of its network."""

    no_effect: ClassVar = {
        **dict.fromkeys(("lm", "license", "clip"), ("onnx", (True,))),
        "streaming": ("onnx", (False,)),
    }

    lm: str | None = setting(
        None, help="Language model to include: ARPA or KenLM binary [default: that of EXP/decode.toml, if it exists]."
    )
    license: str | None = setting(None, help="File with the terms under which the network may be used.")
    clip: str | None = setting(
        None, help="Recording of up to 30 s for the self-check [default: a short one of the dev set]."
    )
    onnx: bool = setting(False, help="Write the network alone, as an ONNX model.")
    streaming: bool = setting(False, help="With --onnx: a model for streams, with its states as inputs and outputs.")
