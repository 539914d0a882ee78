"""The training loop. It reads no options and writes no files: events and bytes go to its caller.

Every random number follows from (seed, epoch or step, utterance or rank). A run that was killed therefore resumes along
the same losses, and the data of a step do not depend on the number of processes or readers.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np
import torch

from ds2cli import memory
from ds2cli.config.base import as_dict
from ds2cli.errors import DataError, Ds2Error
from ds2cli.nn.distributed.gradients import GradientReducer
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.nn.norm import has_batch_norm, synchronize_norms
from ds2cli.runtime.file import describe_error
from ds2cli.train.backward import Backward
from ds2cli.train.batch_plan import Steps
from ds2cli.train.batches import Batch, load_batch
from ds2cli.train.checkpoint_files import LOG, CheckpointFiles, Store
from ds2cli.train.epoch_plan import plan_epoch
from ds2cli.train.events import Event, MemoryProbe, Request, Saved, TimeLimit, TrainStep
from ds2cli.train.examples import Utterance, fingerprint
from ds2cli.train.failures import SkippedSteps, nothing_learned
from ds2cli.train.job import TrainJob
from ds2cli.train.loader import BatchLoader
from ds2cli.train.losses import spread_costs
from ds2cli.train.network import build_initial_network
from ds2cli.train.optim import WeightAverage, build_optimizer, learning_rate, take_optimizer_step
from ds2cli.train.precision import choose_precision
from ds2cli.train.resume import LAST, dump_checkpoint
from ds2cli.train.selection import select_checkpoint
from ds2cli.train.state import TrainState
from ds2cli.train.step_totals import reduce_step

SCALE_UP_STEPS = 2000
"""Steps with finite gradients after which the float16 cost scale is doubled."""


class Trainer:
    """A network in training, on one process of a group."""

    def __init__(
        self,
        job: TrainJob,
        group: ProcessGroup,
        checkpoint: dict[str, Any] | None = None,
        rows: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Start, or resume from a checkpoint and the rows of its epochs. DataError when it is of another network."""
        self.job, self.config, self.group = job, job.config, group
        torch.manual_seed(job.config.seed)
        self.model = build_initial_network(job, group.device)
        # before the model is connected with those of other processes
        self.precision = choose_precision(job, group, self.model, checkpoint)
        if job.config.sync_norm:
            synchronize_norms(self.model, group)
        self.has_batch_norm = has_batch_norm(self.model)
        self.parameters = list(self.model.parameters())
        self.optimizer = build_optimizer(self.model, job.config.optim)
        self.average = WeightAverage(self.model, job.config.optim.ema)
        self.reducer = GradientReducer(self.parameters, group)
        self.backward = Backward(self.model, self.reducer, getattr(torch, self.precision.name), job.config.ctc)
        self.state = TrainState()
        self.rows, self.failures = list(rows), SkippedSteps()
        self.files = CheckpointFiles(None)
        self.positions: list[list[int]] = []
        self.costs: Sequence[float] = ()
        if checkpoint is not None:
            try:
                self._restore(checkpoint)
            except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as e:
                reason = describe_error(e)
                raise DataError(f"{LAST}: does not fit this network: {reason} (another folder, or --fresh)") from e

    def run(self, store: Store, request: Callable[[], int]) -> Iterator[Event]:
        """Train to the end, or until `request` returns STOP; yields every step and every epoch.

        store: called on rank 0 with a file name and its bytes; at the end of an epoch best.safetensors, train.jsonl
        and, last, last.pt: if it is lost the epoch is repeated. last.pt is also stored within an epoch.
        request: called on rank 0 before each step; returns a `Request`.
        Raises Ds2Error after MAX_SKIPPED steps without a finite loss, when memory runs out outside of a batch (a batch
        is divided), or at the end when a file could not be written.
        """
        with memory.required("train: the training", "free memory: the same command resumes; or use smaller layers"):
            yield from self._run(store, request)

    def _run(self, store: Store, request: Callable[[], int]) -> Iterator[Event]:
        self.files = CheckpointFiles(store if self.group.rank == 0 else None)
        # another machine may have another --init file, or another version of torch
        self.group.broadcast(self.model.state_dict().values())
        started, saved = time.monotonic() - self.state.elapsed_s, time.monotonic()
        loader = BatchLoader(self.job.train_features, self.config.readers)
        try:
            if not self.finished():
                if self.precision.reason:
                    yield self.precision
                yield self._probe_memory(loader)
            while not self.finished():
                steps = self.plan_steps(self.state.epoch)
                step_start = time.monotonic()
                remaining = steps[self.state.batch :] if self.state.time_used(self.config) < 1 else []
                shards = self._load_shards(remaining, loader)
                for step, batches in zip(remaining, shards, strict=True):
                    self.positions = [list(batch) for batch in step]
                    # the rate of the middle of the step, so that neither the first nor the last step's is zero
                    progress = self.state.progress(self.config, len(steps), self.state.batch + 0.5)
                    requested = request() if self.group.rank == 0 else Request.NONE
                    loss, skipped, requested = self.take_step(batches, progress, time.monotonic() - started, requested)
                    now = time.monotonic()
                    self.state.seconds, step_start = self.state.seconds + now - step_start, now
                    self.state.waited, loader.waited = self.state.waited + loader.waited, 0.0
                    yield self._step_event(len(steps), loss, skipped)
                    if requested or now - saved > 60 * self.config.save_minutes:
                        saved = now
                        yield from self._save()
                    if requested == Request.STOP:
                        return self._check_written()
                    if self.state.progress(self.config, len(steps), self.state.batch) >= 1:
                        break
                shards.close()
                yield from self._end_epoch(len(steps))
                saved = time.monotonic()
            if untrained := self.state.count_untrained(self.config):
                reached = self.state.time_used(self.config) >= 1
                yield TimeLimit(self.state.epoch, untrained, self.state.elapsed_s, reached)
            return self._check_written()
        finally:
            loader.close()

    def _check_written(self) -> None:
        if error := self.files.error:
            raise Ds2Error(f"train: {error} (the previous checkpoint is intact: the same command resumes from it)")

    def finished(self) -> bool:
        """Whether the training is complete. An epoch with steps must be evaluated first, even if time has run out."""
        stopped = self.config.early_stop is not None and self.state.stale >= self.config.early_stop
        stopped = stopped or self.state.epoch >= self.config.epochs or self.state.time_used(self.config) >= 1
        return stopped and not self.state.batch

    def plan_steps(self, epoch: int) -> Steps:
        """The steps of an epoch, each a list of batches of positions in the training set."""
        return plan_epoch(self.job, epoch)[0]

    def _shard(self, batch: Sequence[int]) -> list[Utterance]:
        return [self.job.train[i] for i in self.group.shard(list(batch))]

    def _load_shards(self, steps: Sequence[Sequence[Sequence[int]]], loader: BatchLoader) -> Generator[list[Batch]]:
        """This process's shard of each step's batches, read while the step before is computed."""
        shards = (self._shard(batch) for step in steps for batch in step)
        with closing(loader(shards, self.state.epoch)) as loaded:
            for step in steps:
                yield [self._drop_single_step(batch) for batch in islice(loaded, len(step))]

    def _drop_single_step(self, batch: Batch) -> Batch:
        # the variance of a batch norm needs at least two output steps; synchronized norms have those of all processes
        own_norm = batch.ids and not self.backward.norms and self.has_batch_norm
        enough = not own_norm or int(self.model.num_steps(batch.lengths).sum()) >= 2
        return batch if enough else batch.all_unusable("single-step")

    def _probe_memory(self, loader: BatchLoader) -> MemoryProbe:
        """Try the longest batch before the first step, to find out now whether it fits in memory."""
        steps, num_frames = plan_epoch(self.job, self.state.epoch)
        batches = steps.batches
        frames = num_frames[batches.longest].astype(np.int64) * batches.sizes
        longest = int(np.argmax(frames))
        (batch,) = loader([self._shard(batches[longest])], self.state.epoch)
        loader.waited = 0.0
        start = time.monotonic()
        sums = self.backward([self._drop_single_step(batch)], seed=0)
        self.reducer.finish(torch.zeros(1, dtype=torch.float64, device=self.group.device))
        self.backward.restore_statistics()
        measured = int(frames[longest]), time.monotonic() - start, sums.pieces
        total = int(frames.sum())
        return MemoryProbe(len(batches[longest]), *measured, len(steps), total, sums.too_large, sums.counted)

    def time_step(self, batch: Sequence[int]) -> float:
        """Take one step with a batch of positions in the training set; returns its seconds, reading not included."""
        loaded = load_batch(self._shard(batch), self.job.train_features, self.state.epoch)
        start = time.perf_counter()
        self.take_step([self._drop_single_step(loaded)], progress=0.5, elapsed_s=0.0)
        return time.perf_counter() - start

    def take_step(
        self, batches: Sequence[Batch], progress: float, elapsed_s: float, request: int = Request.NONE
    ) -> tuple[float, dict[str, str], Request]:
        """Take one step on all processes.

        progress: fraction of training done, for the learning rate. elapsed_s, request: those of rank 0 apply to all.
        Returns the loss in nats per label (NaN when the step was skipped), reason codes of the utterances that did not
        count, and rank 0's request.
        """
        state, optim = self.state, self.config.optim
        state.batch += 1
        state.step += 1
        seeds = np.random.SeedSequence((self.config.seed, state.step, self.group.rank))
        scale_before = state.scale
        while True:
            self.backward.scale = state.scale if self.precision.name == "float16" else 1.0
            with memory.working():
                sums = self.backward(batches, int(seeds.generate_state(1)[0]))
            costs = spread_costs(self.positions, self.group.shard, self.job.train, sums.costs)
            total = reduce_step(self.reducer, sums, batches, request, elapsed_s, costs)
            norm = self._scale_and_clip(1 / max(total.labels if optim.per == "label" else total.counted, 1))
            if math.isfinite(norm) or self.backward.scale <= 1 or total.non_finite or not total.counted:
                break
            # float16 may have overflowed: try half the scale
            self.backward.restore_statistics()
            state.scale, state.steady = state.scale / 2, 0
        state.elapsed_s = total.elapsed_s
        state.frames += total.frames
        state.padding += total.padding
        state.cut += total.cut
        self.costs = total.costs
        skipped = self.group.all_gather(sums.skipped) if total.any_skipped else {}
        if total.non_finite or not total.counted or not math.isfinite(norm):
            self.backward.restore_statistics()
            self.costs = [math.nan] * len(total.costs)
            if state.scale < scale_before:
                state.scale = max(scale_before / 2, 1.0)
            if not total.non_finite:
                reasons = {name: "gradient-not-finite" for b in batches for name in b.ids if name not in sums.skipped}
                skipped = skipped | self.group.all_gather(reasons)
            state.skip(skipped)
            self.failures.add(state.skipped, empty_batch=not total.counted and not total.non_finite)
            return math.nan, skipped, total.request
        state.skip(skipped)
        take_optimizer_step(self.optimizer, learning_rate(progress, state.epoch, state.divisions, optim))
        self.average.update(self.model, state.step)
        self.failures = SkippedSteps()
        state.steady += 1
        if self.precision.name == "float16" and state.steady >= SCALE_UP_STEPS:
            state.scale, state.steady = state.scale * 2, 0
        state.loss += total.cost
        state.labels += total.labels
        state.counted += total.counted
        return total.cost / max(total.labels, 1), skipped, total.request

    def _scale_and_clip(self, scale: float) -> float:
        """Scale the gradients and clip their norm; returns the norm before clipping."""
        if grads := [p.grad for p in self.parameters if p.grad is not None]:
            torch._foreach_mul_(grads, scale / self.backward.scale)
        return float(torch.nn.utils.clip_grad_norm_(self.parameters, self.config.optim.clip or math.inf))

    def _step_event(self, steps: int, loss: float, skipped: dict[str, str]) -> TrainStep:
        state, progress = self.state, self.state.progress(self.config, steps, self.state.batch)
        step = (state.epoch, state.batch, steps, state.step, loss, progress, state.elapsed_s, skipped)
        return TrainStep(*step, [i for batch in self.positions for i in batch], self.costs)

    def _end_epoch(self, steps: int) -> Iterator[Event]:
        if not self.state.counted and self.state.batch > 1 and self.state.time_used(self.config) < 1:
            raise nothing_learned(self.state)
        weights = self.average.tensors or self.model.state_dict()
        # each process has computed its running statistics from its own shards: rank 0's apply to all
        self.group.broadcast(weights.values())
        self.state.left_out += 1 - self.state.batch / steps
        epoch = self.state.summarize_epoch(self.config, self.job.features, self.optimizer.param_groups[0]["lr"])
        epoch, unwanted = select_checkpoint(self.job, self.state, weights, self.group, epoch, self.files)
        self.rows.append(epoch.to_row())
        log = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows)
        self.files(LOG, log.encode())
        self.state.next_epoch()
        yield from self._save()
        for name in unwanted:
            self.files(name, None)
        yield epoch

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.average.load(checkpoint["average"])
        self.state = TrainState(**checkpoint["at"])

    def _save(self) -> Iterator[Saved]:
        if self.group.rank:
            return
        checkpoint = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.tensors,
            "at": asdict(self.state),
            "config": as_dict(self.config),
            "precision": self.precision.name,
            "features": self.job.features,
            "train": fingerprint(self.job.train),
            "dev": fingerprint(self.job.dev),
        }
        self.files(LAST, dump_checkpoint(checkpoint))
        yield Saved(self.files.error)
