"""Which weights are kept: the tests on the dev set after an epoch, and what follows from them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ds2cli.nn.checkpoint import BEST, TrainedModel, build_network, dump_model, step_seconds
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.train.checkpoint_files import Store
from ds2cli.train.evaluate import count_greedy_errors
from ds2cli.train.job import TrainJob
from ds2cli.train.state import TrainState

SAMPLES = 3
"""Dev utterances of which the row of an epoch has the text and what the network makes of it."""


def select_checkpoint(
    job: TrainJob, at: TrainState, state: dict[str, Tensor], group: ProcessGroup, row: dict[str, Any], store: Store
) -> list[str]:
    """Test weights on the dev set, add the result to the row of their epoch, and keep them when they are the best.

    Without a dev set the latest are the best, and with keep = "last" they are kept as if they were. Moves `at` on.
    Files are written on rank 0.
    Returns the files that are no longer wanted, to remove once it is written down that they are not.
    """
    rate = -float(at.epoch)
    if job.dev:
        tested = build_network(job.config.model, len(job.vocab), state)
        trained = TrainedModel(tested, job.vocab, job.features, step_seconds(tested, job.features), {})
        by_word, by_character, texts, lost = count_greedy_errors(trained, job.dev, job.plain, group)
        row["dev_wer"], row["dev_cer"] = round(by_word.rate, 2), round(by_character.rate, 2)
        shown = [u for u in job.dev if u.id in texts][:SAMPLES]
        row["samples"] = [{"id": u.id, "text": u.text, "pred_text": texts[u.id]} for u in shown]
        row |= {"dev_skipped": lost} if lost else {}
        rate = by_character.rate
    best = rate <= at.best or job.config.keep == "last"
    at.stale = 0 if rate < at.best else at.stale + 1
    plateau = job.config.optim
    if plateau.schedule == "plateau" and at.stale and at.stale % plateau.patience == 0:
        at.divisions += 1
    at.best = min(at.best, rate)
    kept = sorted([*at.kept, [rate, name_of(at.epoch)]])[: job.config.keep_best]
    unwanted = [name for _, name in at.kept if name not in {name for _, name in kept}]
    wanted = job.config.keep_best > 1 and any(name == name_of(at.epoch) for _, name in kept)
    if group.rank == 0 and (best or wanted):
        data = dump_model(state, job.config.model, job.vocab, job.features, row)
        for name in [BEST] * best + [name_of(at.epoch)] * wanted:
            store(name, data)
    at.kept = kept if job.config.keep_best > 1 else []
    return unwanted


def name_of(epoch: int) -> str:
    """The file of the network of an epoch, counted from 0."""
    return f"epoch-{epoch + 1:03d}.safetensors"
