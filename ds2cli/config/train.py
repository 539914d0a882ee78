"""Settings of `ds2 train`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.base import Config, StageConfig, section, setting


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """The network: convolutions, recurrent layers, fully connected layers (paper §3.1)."""

    conv: Literal["1d", "2d"] = setting("1d", help="Convolve over time, or over frequency and time (paper §3.5).")
    channels: tuple[int, ...] = setting((256, 256), help="Channels of each convolution, 1 to 3 of them.", min=1)
    kernels: tuple[int, ...] = setting((11, 5), help="Filter length of each convolution (frames, odd).", min=1)
    strides: tuple[int, ...] = setting((3, 1), help="Time stride of each convolution (frames).", min=1)
    freq_kernels: tuple[int, ...] = setting((41, 21, 21), help="Filter height of each 2d filter (bins, odd).", min=1)
    freq_strides: tuple[int, ...] = setting((2, 2, 2), help="Frequency stride of each 2d convolution (bins).", min=1)
    rnn_layers: int = setting(3, help="Recurrent layers.", min=0)
    rnn_size: int = setting(256, help="Units of a recurrent layer and direction.", min=1)
    bidirectional: bool = setting(True, help="Run both directions and add them; false is forward only.")
    fc_layers: int = setting(0, help="Fully connected layers before the output.", min=0)
    fc_size: int = setting(256, help="Units of a fully connected layer.", min=1)
    dropout: float = setting(0.1, help="Dropout after each layer (probability).", min=0, max=0.95)


@dataclass(frozen=True, kw_only=True)
class OptimConfig(Config):
    """AdamW, a short warm-up, then a fall to zero over the whole training."""

    lr: float = setting(2e-3, help="Highest learning rate.", min=0)
    warmup: float = setting(0.05, help="Share of the training in which the rate rises to its height.", min=0, max=1)
    power: float = setting(1.0, help="Shape of the fall: 1 is a line, 2 falls faster first.", min=0.1, max=10)
    weight_decay: float = setting(0.01, help="Decay of matrices, as a factor of the rate.", min=0)
    beta2: float = setting(0.98, help="Memory of the squared gradients.", min=0, max=0.99999)
    clip: float = setting(5.0, help="Gradients longer than this are cut to it (loss a label).", min=0)
    ema: float = setting(0.0, help="Memory of the averaged weights that are used, 0 is none.", min=0, max=0.99999)


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(Config):
    """How training spectrograms are varied each time they are seen."""

    speed: float = setting(0.0, help="Speed drawn from 1 ± this: time and frequency axes together.", min=0, max=0.5)
    warp: float = setting(0.0, help="Frequency axis stretched by 1 ± this in addition.", min=0, max=0.5)
    freq_masks: int = setting(0, help="Bands of bins set to the mean.", min=0)
    freq_width: int = setting(20, help="Widest band (bins).", min=1)
    time_masks: int = setting(0, help="Stretches of frames set to the mean.", min=0)
    time_width: int = setting(20, help="Longest stretch (frames, at most a fifth of the utterance).", min=1)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(StageConfig):
    """Train a network; the same command goes on where an earlier one ended."""

    epochs: int = setting(20, help="Passes over the training set.", min=1)
    minutes: float | None = setting(
        None, help="Be done in this time, also if the epochs are not; the learning rate follows.", min=0
    )
    batch_s: float = setting(40.0, help="Audio in a batch, padding included (s).", min=0.1)
    sorta_grad: bool = setting(True, help="First epoch from short to long utterances (paper §3.3).")
    seed: int = setting(0, help="Everything random follows from it.", min=0)
    nproc: int = setting(1, help="Processes that share each batch; the machine's cores are divided among them.", min=1)
    precision: Literal["float32", "bfloat16", "auto"] = setting(
        "float32", help="Of the factors of products while training; auto is bfloat16 where the processor has it."
    )
    ctc: Literal["native", "torch"] = setting(
        "native", help="Whose loss: the native library's, or torch's, which is slower and differs in the last digits."
    )
    save_minutes: float = setting(10.0, help="Write last.pt also inside an epoch, this often (minutes).", min=0)
    keep: Literal["best", "last"] = setting("best", help="Keep the weights of the best dev CER, or of the last epoch.")
    fresh: bool = setting(False, help="Start anew even where EXP holds a checkpoint.")
    model: ModelConfig = section(ModelConfig)
    optim: OptimConfig = section(OptimConfig)
    augment: AugmentConfig = section(AugmentConfig)
