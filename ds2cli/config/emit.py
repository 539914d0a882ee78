"""Settings of `ds2 emit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ds2cli.config.base import StageConfig, setting
from ds2cli.config.inference import InferenceConfig


@dataclass(frozen=True, kw_only=True)
class EmitConfig(InferenceConfig, StageConfig):
    """Compute emissions: the network's log-probabilities of each step."""

    no_effect: ClassVar = {
        **dict.fromkeys(("tokens", "onnx_input", "onnx_output", "standardize", "rate"), ("onnx", (False,))),
        "step_ms": (("onnx", "scores"), (False, None)),
        "precision": ("onnx", (True,)),
        "ensemble": ("onnx", (True,)),
    }

    dir: str | None = setting(None, help="Folder for the archive [default: emissions/ next to OUT].", same_result=True)
    ensemble: tuple[str, ...] = setting(
        (), help="Experiments whose probabilities are averaged with those of EXP (same symbols, features, stride)."
    )
    onnx: bool = setting(False, help="EXP is an ONNX model: the CTC network of any toolkit.")
    tokens: str | None = setting(
        None, help="With --onnx: list of its symbols [default: in the model, else tokens.txt next to it]."
    )
    onnx_input: Literal["auto", "samples", "frames", "bins"] = setting(
        "auto", help="With --onnx: its input is samples (1, N), frames (1, T, F) or bins (1, F, T)."
    )
    onnx_output: str | None = setting(
        None, help="With --onnx: name of its output with the scores [default: the only candidate]."
    )
    standardize: bool = setting(
        False, help="With --onnx: scale the samples, or each bin, of an utterance to mean 0 and variance 1."
    )
    rate: int = setting(16000, help="With --onnx: sample rate of a network of samples (Hz).", min=1000, max=192000)
    scores: str | None = setting(
        None, help="Read the scores of each utterance from this file (.npz, .ark, .scp); EXP is the list of symbols."
    )
    step_ms: float | None = setting(
        None,
        help="Duration of a step (ms) [default: with --onnx measured, with --scores duration / steps of each row].",
        min=0.1,
        max=10000,
    )
