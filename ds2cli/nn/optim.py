"""The optimiser, its learning rate over the training, and averaged weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ds2cli.config.optim import OptimConfig


def build(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """AdamW; only matrices decay, not norms and biases."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, config.beta2), fused=True)


def rate(progress: float, config: OptimConfig) -> float:
    """Learning rate at `progress` (0 to 1) of the training: a linear rise, then a fall to zero."""
    if progress < config.warmup:
        return config.lr * progress / config.warmup
    left = (1 - min(progress, 1.0)) / (1 - config.warmup) if config.warmup < 1 else 1.0
    return float(config.lr * left**config.power)


def wants_bfloat16(precision: str) -> bool:
    """Whether products take bfloat16 factors; sums, norms, the loss and the weights stay float32 in any case."""
    if precision != "auto":
        return precision == "bfloat16"
    # a torch built without oneDNN, as for some ARM machines, does not have the question either
    one_dnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(one_dnn and torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Average:
    """Exponential moving average of a model's weights and running statistics; they test better than the last step's.

    The memory grows with the steps taken, so that the first weights are soon forgotten. state: the averaged tensors by
    name, none of them when the memory is 0.
    """

    def __init__(self, model: nn.Module, memory: float) -> None:
        self.memory = memory
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()} if memory else {}

    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after the step numbered `step` (from 1)."""
        if not self.memory:
            return
        now = model.state_dict()
        names = [name for name, value in now.items() if value.is_floating_point()]
        share = 1 - min(self.memory, step / (step + 9))
        torch._foreach_lerp_([self.state[n] for n in names], [now[n].detach() for n in names], share)

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from a saved average."""
        for name, mine in self.state.items():
            mine.copy_(state[name])
