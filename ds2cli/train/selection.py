"""Which weights to keep: evaluation on the dev set after an epoch, early stopping, learning-rate plateaus."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ds2cli.nn.checkpoint import TrainedModel, build_network, dump_model, step_seconds
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.runtime.file import BEST
from ds2cli.train.checkpoint_files import Store
from ds2cli.train.evaluate import count_greedy_errors
from ds2cli.train.events import Epoch
from ds2cli.train.job import TrainJob
from ds2cli.train.state import TrainState

NUM_SAMPLES = 3
"""Dev utterances whose texts and hypotheses are stored with each epoch."""


def select_checkpoint(
    job: TrainJob, state: TrainState, weights: dict[str, Tensor], group: ProcessGroup, epoch: Epoch, store: Store
) -> tuple[Epoch, list[str]]:
    """Evaluate weights on the dev set and store them if they are to be kept.

    Returns the epoch with the dev results, and the files that are no longer needed: remove those once last.pt is
    written without them. Updates the best rate, the patience and the kept networks of `state`.
    Without a dev set, or with keep = "last", the latest weights count as the best. Only rank 0 stores files.
    """
    rate = -float(state.epoch)
    if job.dev:
        epoch, rate = _evaluate(job, weights, group, epoch)
    best = rate <= state.best or job.config.keep == "last"
    state.stale = 0 if rate < state.best else state.stale + 1
    optim = job.config.optim
    if optim.schedule == "plateau" and state.stale and state.stale % optim.patience == 0:
        state.divisions += 1
    state.best = min(state.best, rate)
    file_name = epoch_file_name(state.epoch)
    kept = sorted([*state.kept, [rate, file_name]])[: job.config.keep_best]
    kept_names = {name for _, name in kept}
    unwanted = [name for _, name in state.kept if name not in kept_names]
    among_best = job.config.keep_best > 1 and file_name in kept_names
    if group.rank == 0 and (best or among_best):
        data = dump_model(weights, job.config.model, job.vocab, job.features, epoch.to_row())
        for name in [BEST] * best + [file_name] * among_best:
            store(name, data)
    state.kept = kept if job.config.keep_best > 1 else []
    return epoch, unwanted


def _evaluate(job: TrainJob, weights: dict[str, Tensor], group: ProcessGroup, epoch: Epoch) -> tuple[Epoch, float]:
    """The epoch with the dev results, and the character error rate in percent, not rounded."""
    model = build_network(job.config.model, len(job.vocab), weights)
    trained = TrainedModel(model, job.vocab, job.features, step_seconds(model, job.features), {})
    by_word, by_character, texts, skipped = count_greedy_errors(trained, job.dev, job.dev_features, group)
    sampled = [u for u in job.dev if u.id in texts][:NUM_SAMPLES]
    samples = [{"id": u.id, "text": u.text, "pred_text": texts[u.id]} for u in sampled]
    wer, cer = round(by_word.rate, 2), round(by_character.rate, 2)
    return replace(epoch, dev_wer=wer, dev_cer=cer, samples=samples, dev_skipped=skipped), by_character.rate


def epoch_file_name(epoch: int) -> str:
    """The file of the network of an epoch, counted from 0."""
    return f"epoch-{epoch + 1:03d}.safetensors"
