"""The optimiser, its learning rate over the training, and averaged weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ds2cli.config.optim import OptimConfig


def build(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """AdamW, or SGD with Nesterov's momentum (paper §6); only matrices decay, not norms and biases.

    SGD's decay is decoupled, too: weights shrink by rate * weight_decay a step, whatever the momentum holds.
    """
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    if config.method == "adamw":
        groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, config.beta2), fused=True)
    groups = [{"params": matrices, "shrink": config.weight_decay}, {"params": others, "shrink": 0.0}]
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0, fused=True)


@torch.no_grad()  # type: ignore[untyped-decorator]
def step(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Take a step at a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr
        if group.get("shrink"):
            torch._foreach_mul_(group["params"], 1 - lr * group["shrink"])
    optimizer.step()


def rate(progress: float, epoch: int, divisions: int, config: OptimConfig) -> float:
    """The learning rate of a step.

    progress: 0 to 1, of the whole training.  epoch: from 0.  divisions: how often a plateau has divided it.
    """
    if progress < config.warmup:
        return config.lr * progress / config.warmup
    left = (1 - min(progress, 1.0)) / (1 - config.warmup) if config.warmup < 1 else 1.0
    if config.schedule == "line":
        return float(config.lr * left**config.power)
    if config.schedule == "cosine":
        return config.lr * 0.5 * (1 - math.cos(math.pi * left))
    times = {"epoch": epoch, "plateau": divisions, "constant": 0}[config.schedule]
    return config.lr / float(config.lr_divisor**times)


def precision(name: str, device: torch.device) -> torch.dtype:
    """Of the factors of products; sums, norms, the loss and the weights stay float32 in any case."""
    if name != "auto":
        chosen: torch.dtype = getattr(torch, name)
        return chosen
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    # a torch built without oneDNN, as for some ARM machines, does not have the question either
    one_dnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return torch.bfloat16 if one_dnn and torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


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
