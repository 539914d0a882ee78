"""The optimizer, the learning-rate schedule, and the weight average."""

from __future__ import annotations

import inspect
import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from ds2cli.config.optim import OptimConfig

_Optimizer = TypeVar("_Optimizer", bound=torch.optim.Optimizer)
METHODS = ("add_param_group", "load_state_dict", "state_dict", "step", "zero_grad")


def _without_compiler(optimizer: type[_Optimizer]) -> type[_Optimizer]:
    """An optimizer whose methods do not load torch's compiler, which takes two seconds, to stay out of its graphs."""
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in METHODS}
    return type(optimizer.__name__, (optimizer,), methods)


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """AdamW, or SGD with Nesterov momentum (paper §6). Only matrices decay, not norms and biases.

    SGD's weight decay is decoupled, too: weights shrink by lr * weight_decay per step, independently of the momentum.
    """
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    if config.method == "adamw":
        groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
        adamw = _without_compiler(torch.optim.AdamW)
        return adamw(groups, lr=config.lr, betas=(0.9, config.beta2), fused=True)
    groups = [{"params": matrices, "shrink": config.weight_decay}, {"params": others, "shrink": 0.0}]
    return _without_compiler(torch.optim.SGD)(
        groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0, fused=True
    )


@torch.no_grad()  # type: ignore[untyped-decorator]
def take_optimizer_step(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Take a step at a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr
        if group.get("shrink"):
            torch._foreach_mul_(group["params"], 1 - lr * group["shrink"])
    optimizer.step()


def learning_rate(progress: float, epoch: int, divisions: int, config: OptimConfig) -> float:
    """The learning rate of a step.

    progress: 0 to 1, of the whole training.  epoch: from 0.  divisions: number of times a plateau has divided it.
    """
    if progress < config.warmup:
        return config.lr * progress / config.warmup
    remaining = (1 - min(progress, 1.0)) / (1 - config.warmup) if config.warmup < 1 else 1.0
    if config.schedule == "line":
        return float(config.lr * remaining**config.power)
    if config.schedule == "cosine":
        return config.lr * 0.5 * (1 - math.cos(math.pi * remaining))
    times = {"epoch": epoch, "plateau": divisions, "constant": 0}[config.schedule]
    return config.lr / float(config.lr_divisor**times)


class WeightAverage:
    """Exponential moving average of a model's weights and running statistics, which generalizes better than the last.

    The decay rises to `decay` with the steps taken, so that the initial weights are soon forgotten. tensors: the
    averages by name; empty when `decay` is 0.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {name: value.detach().clone() for name, value in model.state_dict().items()} if decay else {}

    def update(self, model: nn.Module, step: int) -> None:
        """Include the weights after a step, counted from 1."""
        if not self.decay:
            return
        current = model.state_dict()
        names = [name for name, value in current.items() if value.is_floating_point()]
        weight = 1 - min(self.decay, step / (step + 9))
        torch._foreach_lerp_([self.tensors[n] for n in names], [current[n].detach() for n in names], weight)

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Resume from a saved average."""
        for name, average in self.tensors.items():
            average.copy_(tensors[name])
