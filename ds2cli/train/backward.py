"""Gradients of one step's batches, computed in pieces when a batch does not fit in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ds2cli import memory
from ds2cli.errors import Ds2Error
from ds2cli.nn.ctc.loss import Implementation, Verdict, ctc
from ds2cli.nn.distributed.gradients import GradientReducer
from ds2cli.nn.network import Network
from ds2cli.nn.norm import synchronized_norms
from ds2cli.train.batches import Batch, halve_batch

UTTERANCE_FAULTS = (Verdict.TOO_SHORT, Verdict.IMPOSSIBLE)
"""Verdicts that exclude one utterance only. A NaN affects all: batch norm mixes the utterances of a batch."""


@dataclass
class LossSums:
    """Sums over the utterances of a step that count.

    cost: nats; labels; counted: number of utterances.  costs: of each of them (nats), by id.  skipped: reason codes of
    the others by id.  non_finite: a loss was not finite, so the gradients cannot be used.  pieces: number of pieces the
    batches were computed in.
    """

    cost: float = 0.0
    labels: int = 0
    counted: int = 0
    costs: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    non_finite: bool = False
    pieces: int = 0

    @property
    def too_large(self) -> tuple[str, ...]:
        """Ids of the utterances that do not fit in memory on their own."""
        return tuple(name for name, reason in self.skipped.items() if reason == memory.OUT_OF_MEMORY)

    def __iadd__(self, other: LossSums) -> LossSums:
        self.cost += other.cost
        self.labels += other.labels
        self.counted += other.counted
        self.costs |= other.costs
        self.skipped |= other.skipped
        self.non_finite |= other.non_finite
        return self


class Backward:
    """Fills the gradients of a model with those of the summed cost of batches."""

    def __init__(
        self, model: Network, reducer: GradientReducer, precision: torch.dtype, implementation: Implementation
    ) -> None:
        self.model, self.reducer = model, reducer
        self.precision, self.implementation = precision, implementation
        self.device = model.mean.device
        self.norms = synchronized_norms(model)
        self.statistics = list(model.buffers())
        self.saved_statistics = [b.clone() for b in self.statistics]
        self.scale = 1.0
        """Factor of the cost that keeps float16 gradients from underflowing."""

    def __call__(self, batches: Sequence[Batch], seed: int) -> LossSums:
        """Compute the gradients of the summed cost. seed: of the dropout.

        When a batch does not fit in memory it is halved and everything is computed again in pieces, each with its own
        batch statistics. An utterance that does not fit on its own is left out. With batch statistics of all processes
        this raises Ds2Error instead: the others are waiting inside the pass, so it cannot be repeated.
        """
        pieces = list(batches)
        skipped = {name: reason for batch in batches for name, reason in batch.unusable.items()}
        torch._foreach_copy_(self.saved_statistics, self.statistics)
        while True:
            sums = LossSums(skipped=dict(skipped), pieces=len(pieces))
            too_large = self._accumulate(pieces, seed, sums)
            if too_large is None:
                return sums
            self.restore_statistics()
            batch = pieces.pop(too_large)
            if len(batch.ids) == 1:
                skipped[batch.ids[0]] = memory.OUT_OF_MEMORY
            else:
                pieces[too_large:too_large] = halve_batch(batch)

    def restore_statistics(self) -> None:
        """Set the running statistics back to before the last call, for a step that is not taken."""
        torch._foreach_copy_(self.statistics, self.saved_statistics)

    def _accumulate(self, pieces: Sequence[Batch], seed: int, sums: LossSums) -> int | None:
        """Add up the pieces' gradients and costs; returns the index of one that does not fit in memory."""
        torch.manual_seed(seed)
        self.model.train()
        self.reducer.start()
        for p in self.model.parameters():
            p.grad = None
        for i, piece in enumerate(pieces):
            # synchronized norms send their own sums during backward, and all processes must send in the same order
            self.reducer.overlap = i == len(pieces) - 1 and not self.norms
            try:
                sums += self._backward_piece(piece)
            except (MemoryError, RuntimeError) as e:
                if not memory.is_out_of_memory(e):
                    raise
                if self.norms:
                    size = f"{len(piece.ids)} utterances, {piece.feats.shape[0] * piece.feats.shape[1]} frames"
                    raise Ds2Error(
                        f"train: a batch does not fit in memory ({size}), and --sync-norm cannot split it "
                        "(use a smaller --batch-s)"
                    ) from e
            else:
                continue
            # what the failed pass holds is free only after its traceback
            memory.release()
            return i
        return None

    def _backward_piece(self, batch: Batch) -> LossSums:
        if not batch.ids:
            self._join_norms()
            return LossSums()
        logits, steps = self._forward(batch)
        costs, verdicts = ctc(logits, batch.targets, steps, batch.target_lengths, implementation=self.implementation)
        ok = verdicts == Verdict.OK
        bad = {batch.ids[n]: Verdict(int(verdicts[n])) for n in torch.where(~ok)[0].tolist()}
        cost = costs.where(ok, 0).sum()
        non_finite = any(verdict not in UTTERANCE_FAULTS for verdict in bad.values())
        if not non_finite or self.norms:
            (self.scale * cost).backward()  # type: ignore[no-untyped-call]
        labels = int(batch.target_lengths[ok.cpu()].sum())
        reasons = {name: verdict.code for name, verdict in bad.items()}
        each = dict(zip(batch.ids, costs.detach().tolist(), strict=True))
        kept = {name: nats for name, nats in each.items() if name not in bad}
        # [mix] may have an utterance twice in a batch
        counted = sum(name not in bad for name in batch.ids)
        return LossSums(float(cost.detach()), labels, counted, kept, reasons, non_finite)

    def _join_norms(self) -> None:
        """Take part in the synchronized norms without a frame, in the order of the other processes."""
        if self.norms:
            torch.autograd.backward([norm(norm.weight.new_zeros(0, norm.num_features)).sum() for norm in self.norms])

    def _forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        feats = batch.feats.to(self.device, non_blocking=True)
        autocast = self.precision != torch.float32
        with torch.autocast(self.device.type, self.precision if autocast else None, enabled=autocast):
            logits, steps = self.model(feats, batch.lengths)
        return logits, steps
