"""The network of a training run before its first step."""

from __future__ import annotations

import torch

from ds2cli import memory
from ds2cli.config.base import as_dict
from ds2cli.errors import Ds2Error, UsageError
from ds2cli.nn.network import Network, make_network
from ds2cli.nn.transfer import Transfer, plan_transfer, transfer_weights
from ds2cli.train.job import TrainJob


def build_initial_network(job: TrainJob, device: torch.device) -> Network:
    """Build the network with random weights, or those of `--init`; Ds2Error if it does not fit in memory."""
    try:
        model = make_network(job.config.model, len(job.vocab), len(job.mean))
        model.mean.copy_(torch.from_numpy(job.mean))
        model.std.copy_(torch.from_numpy(job.std))
        if job.init is not None:
            transfer_weights(model, job.vocab, job.init)
        return model.to(device)
    except (MemoryError, RuntimeError) as e:
        if not memory.is_out_of_memory(e):
            raise
        settings = as_dict(job.config.model).items()
        sizes = ", ".join(f"model.{name} is {value}" for name, value in settings if name.endswith(("_size", "_layers")))
        raise Ds2Error(f"train: the network does not fit in memory: {sizes} (use smaller layers, or fewer)") from e


def plan_initial_weights(job: TrainJob) -> Transfer:
    """What the network takes from `--init`, found without building it; UsageError if that is nothing."""
    assert job.init is not None
    with torch.device("meta"):
        model = make_network(job.config.model, len(job.vocab), len(job.mean))
    plan = plan_transfer(model, job.vocab, job.init)
    if not plan.taken:
        fix = "give the settings of [model] that it was trained with, as in its config.toml, or leave out --init"
        raise UsageError(f"train: --init {job.config.init}: this network takes {plan.describe()} ({fix})")
    return plan
