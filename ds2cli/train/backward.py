"""Gradients of a step's batches, also where memory does not reach for a batch as it is."""

from __future__ import annotations

import gc
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ds2cli.errors import Ds2Error
from ds2cli.nn.ctc.loss import Implementation, Verdict, ctc
from ds2cli.nn.distributed.gradients import GradientReducer
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.nn.norm import synchronized_norms
from ds2cli.train.batches import Batch, halves

OWN_FAULT = (Verdict.TOO_SHORT, Verdict.IMPOSSIBLE)
"""What costs an utterance only itself. NaN in one comes from all of them: a batch norm mixes the rows of a batch."""

OUT_OF_MEMORY = "out-of-memory"
"""Why an utterance is left out for which alone there is not enough memory."""

NO_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|out of memory|bad_alloc|ALLOC(ATION)?_FAILED"
    r"|could not (create|execute) a primitive$"
)
"""What torch and its libraries say then; the last are those of CUDA and of oneDNN."""


@dataclass
class LossSums:
    """The summed cost of a step's utterances (nats), their labels and number, and what is not in it and why.

    spoiled: a loss was not finite, so the gradients are worth nothing.  pieces: into how many a batch was cut.
    """

    cost: float = 0.0
    labels: int = 0
    counted: int = 0
    out: dict[str, str] = field(default_factory=dict)
    spoiled: bool = False
    pieces: int = 0

    def __iadd__(self, other: LossSums) -> LossSums:
        self.cost += other.cost
        self.labels += other.labels
        self.counted += other.counted
        self.out |= other.out
        self.spoiled |= other.spoiled
        return self


class Backward:
    """Fills the gradients of a model with those of the summed cost of batches."""

    def __init__(
        self, model: DeepSpeech2, reducer: GradientReducer, precision: torch.dtype, implementation: Implementation
    ) -> None:
        self.model, self.reducer = model, reducer
        self.precision, self.implementation = precision, implementation
        self.device = model.mean.device
        self.norms = synchronized_norms(model)
        self.running = list(model.buffers())
        self.before = [b.clone() for b in self.running]
        self.scale = 1.0
        """Of the cost, so that float16 gradients do not vanish."""

    def __call__(self, batches: Sequence[Batch], seed: int) -> LossSums:
        """Compute the gradients of the summed cost. seed: of the dropout.

        A batch that memory does not hold is cut in two, and all is computed anew with it in pieces: they have batch
        statistics of their own. An utterance that does not fit alone is left out. Ds2Error where the statistics are of
        all processes: the others wait in the middle of it, so it cannot be computed anew.
        """
        pieces, lost = list(batches), {name: why for batch in batches for name, why in batch.unusable.items()}
        torch._foreach_copy_(self.before, self.running)
        while True:
            costs = LossSums(out=dict(lost), pieces=len(pieces))
            failed = self._all(pieces, seed, costs)
            if failed is None:
                return costs
            self.undo()
            batch = pieces.pop(failed)
            if len(batch.ids) == 1:
                lost[batch.ids[0]] = OUT_OF_MEMORY
            else:
                pieces[failed:failed] = halves(batch)

    def undo(self) -> None:
        """Set the running statistics back to before the last call, as when its step is not taken."""
        torch._foreach_copy_(self.running, self.before)

    def _all(self, pieces: Sequence[Batch], seed: int, costs: LossSums) -> int | None:
        """Add up the costs of pieces; the index of one that memory does not hold."""
        torch.manual_seed(seed)
        self.model.train()
        self.reducer.start()
        for p in self.model.parameters():
            p.grad = None
        for i, piece in enumerate(pieces):
            # norms of all processes send sums of their own in backward, which must come in the same order everywhere
            self.reducer.armed = i == len(pieces) - 1 and not self.norms
            try:
                costs += self._one(piece)
            except (MemoryError, RuntimeError) as e:
                if not lacks_memory(e):
                    raise
                if self.norms:
                    size = f"{len(piece.ids)} utterances, {piece.feats.shape[0] * piece.feats.shape[1]} frames"
                    raise Ds2Error(
                        f"train: memory does not hold a batch ({size}), and --sync-norm cannot cut it (fix: --batch-s)"
                    ) from e
            else:
                continue
            # what the failed pass still holds is freed here, after its traceback
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            return i
        return None

    def _one(self, batch: Batch) -> LossSums:
        if not batch.ids:
            self._take_part()
            return LossSums()
        logits, steps = self._forward(batch)
        costs, verdicts = ctc(logits, batch.targets, steps, batch.target_lengths, implementation=self.implementation)
        fine = verdicts == Verdict.FINE
        odd = {batch.ids[n]: Verdict(int(verdicts[n])) for n in torch.where(~fine)[0].tolist()}
        cost = costs.where(fine, 0).sum()
        spoiled = any(verdict not in OWN_FAULT for verdict in odd.values())
        if not spoiled or self.norms:
            (self.scale * cost).backward()  # type: ignore[no-untyped-call]
        labels = int(batch.target_lengths[fine.cpu()].sum())
        codes = {name: verdict.code for name, verdict in odd.items()}
        return LossSums(float(cost.detach()), labels, len(batch.ids) - len(odd), codes, spoiled)

    def _take_part(self) -> None:
        """Go through the norms of all processes without a frame, in the order in which the others do."""
        if self.norms:
            torch.autograd.backward([norm(norm.weight.new_zeros(0, norm.num_features)).sum() for norm in self.norms])

    def _forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        feats = batch.feats.to(self.device, non_blocking=True)
        half = self.precision != torch.float32
        with torch.autocast(self.device.type, self.precision if half else None, enabled=half):
            logits, steps = self.model(feats, batch.lengths)
        return logits, steps


def lacks_memory(e: BaseException) -> bool:
    """Whether an error says that there was not enough memory."""
    return isinstance(e, (MemoryError, torch.OutOfMemoryError)) or NO_MEMORY.search(str(e)) is not None
