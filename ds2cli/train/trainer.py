"""The training loop. It reads no options and writes no file: rows and bytes go to whoever runs it.

Every random number follows from (seed, epoch or step, utterance or process), so a run that was killed goes on along the
same losses, and the data of a step do not depend on the number of processes or readers.
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

from ds2cli.config.base import as_dict
from ds2cli.errors import DataError, Ds2Error
from ds2cli.nn.checkpoint import one_line, transfer_weights
from ds2cli.nn.distributed.gradients import GradientReducer
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.nn.norm import SequenceNorm
from ds2cli.train import optim
from ds2cli.train.backward import Backward, LossSums
from ds2cli.train.batches import Batch
from ds2cli.train.checkpoint_files import LOG, CheckpointFiles, Store
from ds2cli.train.events import GO_ON, HALT, Event, MemoryProbe, Saved, TrainStep
from ds2cli.train.examples import Utterance, fingerprint, plan
from ds2cli.train.failures import SkippedSteps, nothing_learned
from ds2cli.train.job import TrainJob
from ds2cli.train.loader import BatchLoader
from ds2cli.train.selection import select_checkpoint
from ds2cli.train.state import TrainState
from ds2cli.train.state_file import LAST, dump_state

STEADY = 2000
"""Steps with finite gradients after which a cost in float16 is scaled up again."""


class Trainer:
    """A network in training on one process of a group."""

    def __init__(
        self,
        job: TrainJob,
        group: ProcessGroup,
        state: dict[str, Any] | None = None,
        rows: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Start, or go on from a saved state and the rows before it. DataError when it is not of this network."""
        torch.manual_seed(job.config.seed)
        self.job, self.config, self.group = job, job.config, group
        self.model = DeepSpeech2(job.config.model, len(job.vocab), len(job.mean))
        self.model.mean.copy_(torch.from_numpy(job.mean))
        self.model.std.copy_(torch.from_numpy(job.std))
        if job.init is not None:
            transfer_weights(self.model, job.vocab, job.init)
        self.model.to(group.device)
        for module in self.model.modules():
            if isinstance(module, SequenceNorm) and job.config.sync_norm:
                module.group = group
        self.parameters = list(self.model.parameters())
        self.optimizer = optim.build(self.model, job.config.optim)
        self.average = optim.Average(self.model, job.config.optim.ema)
        self.precision = optim.precision(job.config.precision, group.device)
        self.reducer = GradientReducer(self.parameters, group)
        self.backward = Backward(self.model, self.reducer, self.precision, job.config.ctc)
        self.at = TrainState()
        self.rows = list(rows)
        self.failures = SkippedSteps()
        self.files = CheckpointFiles(None)
        if state is not None:
            try:
                self._restore(state)
            except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as e:
                raise DataError(f"{LAST}: does not fit this network: {one_line(e)} (another folder, or --fresh)") from e

    def run(self, store: Store, asked: Callable[[], int]) -> Iterator[Event]:
        """Train to the end, or until `asked` says HALT; yield every step and a row for every epoch.

        store: called with a file name and its bytes, on rank 0 only. At the end of an epoch best.safetensors,
        train.jsonl and then last.pt: what is lost with the last of them comes again. It is stored in between, too.
        asked: GO_ON, SAVE or HALT; asked on rank 0 only.
        Ds2Error after MOST_SKIPPED steps without a finite loss, or when a file could not be written and still cannot.
        """
        self.files = CheckpointFiles(store if self.group.rank == 0 else None)
        # the network to start from, and torch, might be others on another machine
        self.group.broadcast(self.model.state_dict().values())
        started, saved = time.monotonic() - self.at.elapsed_s, time.monotonic()
        loader = BatchLoader(self.job.see, self.config.readers)
        try:
            if not self._over():
                yield self._probe_memory(loader)
            while not self._over():
                steps = self.steps()
                mark = time.monotonic()
                batches = self._batches(steps[self.at.batch :] if self._clock() < 1 else [], loader)
                for share in batches:
                    # the rate of the middle of the step: neither the first nor the last one is zero
                    progress = self._progress(len(steps), self.at.batch + 0.5)
                    want = asked() if self.group.rank == 0 else GO_ON
                    loss, skipped, want = self.take_step(share, progress, time.monotonic() - started, want)
                    now = time.monotonic()
                    self.at.seconds, mark = self.at.seconds + now - mark, now
                    self.at.waited, loader.waited = self.at.waited + loader.waited, 0.0
                    yield self._seen(len(steps), loss, skipped)
                    if want or now - saved > 60 * self.config.save_minutes:
                        saved = now
                        yield from self._save()
                    if want == HALT:
                        return self._check_written()
                    if self._progress(len(steps), self.at.batch) >= 1:
                        break
                batches.close()
                yield from self._end_epoch()
                saved = time.monotonic()
            return self._check_written()
        finally:
            loader.close()

    def _check_written(self) -> None:
        """Ds2Error when a file of the end could not be written."""
        if self.files.why:
            raise Ds2Error(
                f"train: {self.files.why} (the checkpoint before it is whole: the same command goes on from there)"
            )

    def _over(self) -> bool:
        """Whether all is done. An epoch that was begun is judged, also when the time ran out as it was cut."""
        if self.at.batch:
            return False
        stopped = self.config.early_stop is not None and self.at.stale >= self.config.early_stop
        return self.at.epoch >= self.config.epochs or self._clock() >= 1 or stopped

    def steps(self) -> list[list[list[int]]]:
        """The epoch's steps, each some batches of positions in the training set."""
        lengths = [self.job.see.frames(u, self.at.epoch) for u in self.job.train]
        limit = round(self.config.batch_s * 1000 / self.job.features["hop_ms"])
        first = self.config.sorta_grad and self.at.epoch == 0
        most = self.config.batch_utts
        batches = plan(lengths, limit, self.config.seed, self.at.epoch, ascending=first, most=most)
        each = self.config.accumulate
        return [batches[i : i + each] for i in range(0, len(batches), each)]

    def _share(self, batch: Sequence[int]) -> list[Utterance]:
        return [self.job.train[i] for i in self.group.shard(list(batch))]

    def _batches(self, steps: Sequence[Sequence[Sequence[int]]], loader: BatchLoader) -> Generator[list[Batch]]:
        """This process's share of each step, read while the one before is computed."""
        with closing(loader((self._share(batch) for step in steps for batch in step), self.at.epoch)) as found:
            for step in steps:
                yield [self._usable(batch) for batch in islice(found, len(step))]

    def _usable(self, batch: Batch) -> Batch:
        # the variance that a batch norm divides by needs two steps, wherever they are
        alone = batch.ids and not self.backward.norms and self.config.model.norm == "batch"
        enough = not alone or int(self.model.num_steps(batch.lengths).sum()) >= 2
        return batch if enough else batch.without_all("single-step")

    def _probe_memory(self, loader: BatchLoader) -> MemoryProbe:
        """Try the longest batch before the first step: what does not fit is found out now and not at night."""
        steps, see = self.steps(), self.job.see
        batches = [batch for step in steps for batch in step]
        frames = [max(see.frames(self.job.train[i], self.at.epoch) for i in batch) * len(batch) for batch in batches]
        longest = int(np.argmax(frames))
        (batch,) = loader([self._share(batches[longest])], self.at.epoch)
        loader.waited = 0.0
        start = time.monotonic()
        costs = self.backward([self._usable(batch)], seed=0)
        self.reducer.finish(torch.zeros(1, dtype=torch.float64, device=self.group.device))
        self.backward.undo()
        took = time.monotonic() - start
        return MemoryProbe(len(batches[longest]), frames[longest], took, costs.pieces, len(steps), sum(frames))

    def take_step(
        self, batches: Sequence[Batch], progress: float, elapsed_s: float, want: int
    ) -> tuple[float, dict[str, str], int]:
        """Take one step on all processes; return its loss a label, the utterances it went without, what is asked."""
        at = self.at
        at.batch += 1
        at.step += 1
        seeds = np.random.SeedSequence((self.config.seed, at.step, self.group.rank))
        scale = at.scale
        while True:
            self.backward.scale = at.scale if self.precision == torch.float16 else 1.0
            mine = self.backward(batches, int(seeds.generate_state(1)[0]))
            total, seen, asked, at.elapsed_s = self._together(mine, batches, want, elapsed_s)
            norm = self._clip(1 / max(total.labels if self.config.optim.per == "label" else total.counted, 1))
            if math.isfinite(norm) or self.backward.scale <= 1 or total.spoiled or not total.counted:
                break
            # what float16 cannot hold with this scale it may with half of it
            self.backward.undo()
            at.scale, at.steady = at.scale / 2, 0
        at.frames, at.padding, at.cut = at.frames + seen[0], at.padding + seen[1], at.cut + (seen[2] > 0)
        skipped = self.group.all_gather(mine.out) if total.out else {}
        if total.spoiled or not total.counted or not math.isfinite(norm):
            self.backward.undo()
            if at.scale < scale:
                at.scale = max(scale / 2, 1.0)
            if not total.spoiled:
                rest = {name: "gradient-not-finite" for b in batches for name in b.ids if name not in mine.out}
                skipped = skipped | self.group.all_gather(rest)
            at.skipped |= skipped
            self.failures.add(at.skipped, empty_batch=not total.counted and not total.spoiled)
            return math.nan, skipped, asked
        at.skipped |= skipped
        optim.step(self.optimizer, optim.rate(progress, at.epoch, at.divisions, self.config.optim))
        self.average.update(self.model, at.step)
        self.failures = SkippedSteps()
        at.steady += 1
        if self.precision == torch.float16 and at.steady >= STEADY:
            at.scale, at.steady = at.scale * 2, 0
        at.loss += total.cost
        at.labels += total.labels
        at.counted += total.counted
        return total.cost / max(total.labels, 1), skipped, asked

    def _together(
        self, mine: LossSums, batches: Sequence[Batch], want: int, elapsed_s: float
    ) -> tuple[LossSums, tuple[int, ...], int, float]:
        """Sum gradients and costs over the processes; also frames, padding, cuts, what rank 0 is asked, its clock."""
        frames = sum(int(b.lengths.sum()) for b in batches)
        padded = sum(b.feats.shape[0] * b.feats.shape[1] for b in batches)
        numbers = [mine.cost, mine.labels, mine.counted, len(mine.out), mine.spoiled, mine.pieces - len(batches)]
        clock = elapsed_s if self.group.rank == 0 else 0.0
        tail = torch.tensor(
            [*numbers, frames, padded - frames, want, clock], dtype=torch.float64, device=self.group.device
        )
        self.reducer.finish(tail)
        cost, labels, counted, out, spoiled, cut, frames, padded, wanted, clock = tail.tolist()
        total = LossSums(cost, int(labels), int(counted), {"": ""} if out else {}, spoiled > 0)
        return total, (int(frames), int(padded), int(cut)), int(wanted), clock

    def _clip(self, scale: float) -> float:
        """Scale the gradients, cut them to their greatest length; return the length before."""
        if grads := [p.grad for p in self.parameters if p.grad is not None]:
            torch._foreach_mul_(grads, scale / self.backward.scale)
        return float(torch.nn.utils.clip_grad_norm_(self.parameters, self.config.optim.clip or math.inf))

    def _progress(self, steps: int, taken: float) -> float:
        """Share of the training that is over after `taken` of the epoch's steps."""
        return max((self.at.epoch + taken / steps) / self.config.epochs, self._clock())

    def _clock(self) -> float:
        return self.at.elapsed_s / (60 * self.config.minutes) if self.config.minutes else 0.0

    def _seen(self, steps: int, loss: float, skipped: dict[str, str]) -> TrainStep:
        at = self.at
        progress = self._progress(steps, at.batch)
        return TrainStep(at.epoch, at.batch, steps, at.step, loss, progress, at.elapsed_s, skipped)

    def _end_epoch(self) -> Iterator[Event]:
        if not self.at.counted and self.at.batch > 1 and self._clock() < 1:
            raise nothing_learned(self.at)
        state = self.average.state or self.model.state_dict()
        # each process has seen other halves of the batches: its running means and variances are its own
        self.group.broadcast(state.values())
        row = self.at.row(self.job.features["hop_ms"], self.optimizer.param_groups[0]["lr"])
        unwanted = select_checkpoint(self.job, self.at, state, self.group, row, self.files)
        self.rows.append(row)
        log = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in self.rows)
        self.files(LOG, log.encode())
        self.at.next_epoch()
        yield from self._save()
        for name in unwanted:
            self.files(name, None)
        yield row

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.load(state["average"])
        self.at = TrainState(**state["at"])

    def _save(self) -> Iterator[Saved]:
        if self.group.rank:
            return
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state,
            "at": asdict(self.at),
            "config": as_dict(self.config),
            "features": self.job.features,
            "train": fingerprint(self.job.train),
            "dev": fingerprint(self.job.dev),
        }
        self.files(LAST, dump_state(state))
        yield Saved(self.files.why)
