"""The training loop. It reads no options and writes no file: rows and bytes go to whoever runs it.

Every random number follows from (seed, epoch or step, utterance or process), so a run that was killed goes on along the
same losses, and the data of a step do not depend on the number of processes.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ds2cli.config.base import as_dict
from ds2cli.errors import DataError, Ds2Error
from ds2cli.nn import optim
from ds2cli.nn.augment import vary
from ds2cli.nn.batches import Batch, Utterance, fingerprint, load, plan
from ds2cli.nn.checkpoint import BEST, LAST, LOG, Bundle, dump_model, dump_state, load_state, one_line, step_seconds
from ds2cli.nn.ctc import Verdict, ctc
from ds2cli.nn.evaluate import error_counts
from ds2cli.nn.job import Job, Position, Step
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.nn.workers import Group

MOST_SKIPPED = 20
"""Steps in a row that may be skipped for want of a finite loss; then the network is beyond help."""

OWN_FAULT = (Verdict.TOO_SHORT, Verdict.IMPOSSIBLE)
"""What costs an utterance only itself. NaN in one comes from all of them: a batch norm mixes the rows of a batch."""

Store = Callable[[str, bytes], None]


class Trainer:
    """A network in training on one process of a group."""

    def __init__(
        self, job: Job, group: Group, state: dict[str, Any] | None = None, rows: Sequence[dict[str, Any]] = ()
    ) -> None:
        """Start, or go on from what `dump_state` saved, with the rows of the epochs before.

        DataError when the state is not one of this network.
        """
        torch.manual_seed(job.config.seed)
        self.job, self.config, self.group = job, job.config, group
        self.model = DeepSpeech2(job.config.model, len(job.vocab), len(job.mean))
        self.model.mean.copy_(torch.from_numpy(job.mean))
        self.model.std.copy_(torch.from_numpy(job.std))
        self.parameters = list(self.model.parameters())
        self.optimizer = optim.build(self.model, job.config.optim)
        self.average = optim.Average(self.model, job.config.optim.ema)
        self.half = optim.wants_bfloat16(job.config.precision)
        self.at = Position()
        self.rows = list(rows)
        self.failures = 0
        if state is not None:
            try:
                self._restore(state)
            except (KeyError, TypeError, ValueError, RuntimeError) as e:
                raise DataError(f"{LAST}: does not fit this network: {one_line(e)} (another folder, or --fresh)") from e

    def run(self, store: Store, stopped: Callable[[], bool]) -> Iterator[Step | dict[str, Any]]:
        """Train to the end, or until `stopped`; yield every step and a row for every epoch.

        store: called with a file name and its bytes, on rank 0 only. At the end of an epoch best.safetensors,
        train.jsonl and then last.pt: what is lost with the last of them comes again. It is stored in between, too.
        Ds2Error after MOST_SKIPPED steps without a finite loss.
        """
        started, saved = time.monotonic() - self.at.elapsed_s, time.monotonic()
        # an epoch that was begun is judged, also when the time ran out as it was cut
        while self.at.epoch < self.config.epochs and (self.at.batch or self._clock() < 1):
            batches = self._plan()
            mark = time.monotonic()
            for batch in self._batches(batches[self.at.batch :] if self._clock() < 1 else []):
                halt = stopped() and self.group.rank == 0
                # the rate of the middle of the step: neither the first nor the last one is zero
                progress = self._progress(len(batches), self.at.batch + 0.5)
                loss, skipped, halt = self._step(batch, progress, time.monotonic() - started, halt)
                now = time.monotonic()
                self.at.seconds, mark = self.at.seconds + now - mark, now
                yield self._seen(len(batches), loss, skipped)
                if halt or now - saved > 60 * self.config.save_minutes:
                    saved = now
                    self._store(store, LAST)
                if halt:
                    return
                if self._progress(len(batches), self.at.batch) >= 1:
                    break
            row = self._epoch_row()
            self._judge(row, store)
            self.rows.append(row)
            self._store(store, LOG)
            self.at.next_epoch()
            self._store(store, LAST)
            saved = time.monotonic()
            yield row

    def _plan(self) -> list[list[int]]:
        lengths = [u.num_frames for u in self.job.train]
        limit = round(self.config.batch_s * 1000 / self.job.features["hop_ms"])
        first = self.config.sorta_grad and self.at.epoch == 0
        return plan(lengths, limit, self.config.seed, self.at.epoch, ascending=first)

    def _batches(self, batches: list[list[int]]) -> Iterator[Batch]:
        """This process's share of each batch, read while the one before is computed."""

        def read(batch: list[int], epoch: int) -> Batch:
            positions = {self.job.train[i].id: i for i in self.group.share(batch)}

            def varied(x: NDArray[np.float32], utterance: Utterance) -> NDArray[np.float32]:
                rng = np.random.default_rng((self.config.seed, epoch, positions[utterance.id]))
                return vary(x, self.job.mean, self.config.augment, rng, utterance.least)

            found = load([self.job.train[i] for i in positions.values()], self.job.read, varied)
            # the variance that a batch norm divides by needs two steps
            if int(self.model.num_steps(found.lengths).sum()) >= 2:
                return found
            unusable = found.unusable | dict.fromkeys(found.ids, "single-step")
            return replace(load([], self.job.read, varied), unusable=unusable)

        with ThreadPoolExecutor(1) as reader:
            ahead = [reader.submit(read, batch, self.at.epoch) for batch in batches[:1]]
            for i in range(len(batches)):
                batch = ahead.pop().result()
                ahead = [reader.submit(read, batch, self.at.epoch) for batch in batches[i + 1 : i + 2]]
                yield batch

    def _step(self, batch: Batch, progress: float, elapsed_s: float, halt: bool) -> tuple[float, dict[str, str], bool]:
        """Take one step on all processes; return its loss a label, the utterances it went without, whether to halt."""
        self.at.batch += 1
        self.at.step += 1
        seeds = np.random.SeedSequence((self.config.seed, self.at.step, self.group.rank))
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        self.model.train()
        self.optimizer.zero_grad()
        cost, labels, odd = self._backward(batch)
        spoiled = any(verdict not in OWN_FAULT for verdict in odd.values())
        out = batch.unusable | {name: verdict.code for name, verdict in odd.items()}
        mine = [cost, labels, batch.lengths.sum(), len(batch.ids) - len(odd), spoiled, len(out), halt]
        tail = torch.tensor([*mine, elapsed_s if self.group.rank == 0 else 0.0], dtype=torch.float64)
        self._sum_gradients(tail)
        cost, labels, frames, num_counted, num_spoiled, num_out, halted, self.at.elapsed_s = tail.tolist()
        self.at.frames += int(frames)
        skipped = self.group.together(out) if num_out else {}
        if num_spoiled or not num_counted or not math.isfinite(self._clip(1 / max(labels, 1.0))):
            if not num_spoiled:
                rest = {name: "gradient-not-finite" for name in batch.ids if name not in odd}
                skipped |= self.group.together(rest)
            self._skip(skipped)
            return math.nan, skipped, bool(halted)
        self.at.skipped |= skipped
        for group in self.optimizer.param_groups:
            group["lr"] = optim.rate(progress, self.config.optim)
        self.optimizer.step()
        self.average.update(self.model, self.at.step)
        self.failures = 0
        self.at.loss += cost
        self.at.labels += int(labels)
        return cost / max(labels, 1.0), skipped, bool(halted)

    def _backward(self, batch: Batch) -> tuple[float, int, dict[str, Verdict]]:
        """Gradients of the summed cost; return it, its labels, and the utterances that are not in it."""
        if not batch.ids:
            return 0.0, 0, {}
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            logits, steps = self.model(batch.feats, batch.lengths)
        costs, verdicts = ctc(logits, batch.targets, steps, batch.target_lengths, implementation=self.config.ctc)
        fine = verdicts == Verdict.FINE
        odd = {batch.ids[n]: Verdict(int(verdicts[n])) for n in torch.where(~fine)[0].tolist()}
        cost = costs.where(fine, 0).sum()
        if all(verdict in OWN_FAULT for verdict in odd.values()):
            cost.backward()  # type: ignore[no-untyped-call]
        return float(cost.detach()), int(batch.target_lengths[fine].sum()), odd

    def _sum_gradients(self, tail: Tensor) -> None:
        """Add up the gradients and `tail` over the processes, in one message."""
        if self.group.size == 1:
            return
        for p in self.parameters:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        grads = [p.grad for p in self.parameters if p.grad is not None]
        # float32 holds the sums of a step exactly enough, and counts exactly
        flat = self.group.add(torch.cat([*(g.reshape(-1) for g in grads), tail.float()]))
        parts = torch.tensor_split(flat, list(itertools.accumulate(g.numel() for g in grads)))
        torch._foreach_copy_(grads, [part.view_as(g) for part, g in zip(parts, grads, strict=False)])
        tail.copy_(parts[-1])

    def _clip(self, scale: float) -> float:
        """Scale the gradients, cut them to their greatest length; return the length before."""
        torch._foreach_mul_([p.grad for p in self.parameters if p.grad is not None], scale)
        return float(torch.nn.utils.clip_grad_norm_(self.parameters, self.config.optim.clip or math.inf))

    def _skip(self, skipped: dict[str, str]) -> None:
        self.at.skipped |= skipped
        self.failures += 1
        if self.failures >= MOST_SKIPPED:
            raise Ds2Error(
                f"train: no loss was finite in {MOST_SKIPPED} steps in a row, last of "
                f"{', '.join(list(self.at.skipped)[-3:])} (lower optim.lr or optim.clip, then --fresh)"
            )

    def _progress(self, batches: int, taken: float) -> float:
        """Share of the training that is over after `taken` of the epoch's batches."""
        return max((self.at.epoch + taken / batches) / self.config.epochs, self._clock())

    def _clock(self) -> float:
        return self.at.elapsed_s / (60 * self.config.minutes) if self.config.minutes else 0.0

    def _seen(self, batches: int, loss: float, skipped: dict[str, str]) -> Step:
        at = self.at
        progress = self._progress(batches, at.batch)
        return Step(at.epoch, at.batch, batches, at.step, loss, progress, at.elapsed_s, skipped)

    def _epoch_row(self) -> dict[str, Any]:
        audio_s = self.at.frames * self.job.features["hop_ms"] / 1000
        row: dict[str, Any] = {
            "epoch": self.at.epoch + 1,
            "step": self.at.step,
            "loss": round(self.at.loss / max(self.at.labels, 1), 4),
            "lr": float(f"{self.optimizer.param_groups[0]['lr']:.4g}"),
            "seconds": round(self.at.seconds, 2),
            "hours_per_hour": round(audio_s / max(self.at.seconds, 1e-9), 1),
        }
        return {**row, "skipped": self.at.skipped} if self.at.skipped else row

    def _judge(self, row: dict[str, Any], store: Store) -> None:
        """Test on the dev set, add the result to `row`, and keep the weights when they are the best so far."""
        vocab, features = self.job.vocab, self.job.features
        state = self.average.state or self.model.state_dict()
        # each process has seen other halves of the batches: its running means and variances are its own
        self.group.agree(state.values())
        tested = DeepSpeech2(self.config.model, len(vocab), len(self.job.mean))
        tested.load_state_dict(state)
        rate = -float(self.at.epoch)
        if self.job.dev:
            bundle = Bundle(tested.eval(), vocab, features, step_seconds(tested, features), {})
            by_word, by_character = error_counts(bundle, self.job.dev, self.job.read, self.group)
            row["dev_wer"], row["dev_cer"] = round(by_word.rate, 2), round(by_character.rate, 2)
            rate = by_character.rate if self.config.keep == "best" else rate
        if rate <= self.at.best:
            self.at.best = rate
            if self.group.rank == 0:
                store(BEST, dump_model(state, self.config.model, vocab, features, row))

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.load(state["average"])
        self.at = Position(**state["at"])

    def _store(self, store: Store, name: str) -> None:
        if self.group.rank == 0 and name == LOG:
            store(name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows).encode())
        elif self.group.rank == 0:
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
            store(name, dump_state(state))


def follow(job: Job, exp: str | None, group: Group) -> None:
    """What a process other than the first does: the same steps from the same checkpoint, and nothing to say."""
    for _ in Trainer(job, group, load_state(exp) if exp else None).run(lambda _name, _data: None, lambda: False):
        pass
