"""Texts of a stream of emissions: what was said so far, and each utterance as soon as it has ended.

Notation: T steps, V symbols.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.decode import SearchConfig
from ds2cli.recognizer.decoder import Search
from ds2cli.recognizer.emissions import Emission
from ds2cli.recognizer.results import describe, needed_hypotheses
from ds2cli.search.endpoint import Endpoint, Endpointer, EndpointRules
from ds2cli.search.stable import LocalAgreement
from ds2cli.text.vocab import Vocab

AGREEMENT_S = 0.2
"""What has not changed for so long is called stable (s). In egs/asterisk/local/stability.py words come 200 ms later and
one in seven of their changes remains; what all likely hypotheses share comes seconds later."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Result:
    """A text, of an utterance that continues or has ended.

    final: whether it will not change any more. start_s, end_s: of the utterance in the stream, from its first sound to
    its last; a partial one ends with what has been heard (s).
    stable: characters at the beginning of a partial text that have not changed for AGREEMENT_S.
    words: {`word`, `start`, `end` (s), `conf`} of a final text, if asked for; confidence: their mean.
    nbest: {`text`, `score`, `am`, `lm` (nats)} of a final text, if asked for.
    reason: why it ended: `silence`, `length` (it was divided), or `end` (of the stream); `impossible`, not final, with
    an empty text: no text that is allowed fits what was heard.
    """

    text: str
    final: bool
    start_s: float
    end_s: float
    stable: int = 0
    words: list[dict[str, Any]] | None = None
    confidence: float | None = None
    nbest: list[dict[str, Any]] | None = field(default=None, repr=False)
    reason: str = ""


class UtteranceStream:
    """Searches one stream. What it returns as final depends on the steps only, not on how they were divided."""

    def __init__(
        self,
        config: SearchConfig,
        search: Search,
        vocab: Vocab,
        step_s: float,
        rules: EndpointRules = EndpointRules(),
        *,
        partials: bool = True,
    ) -> None:
        """config: resolved settings; `nbest` and `timestamps` ask for the fields of final results.

        partials: whether partial results are wanted.
        """
        self.config, self.search, self.vocab, self.step_s, self.partials = config, search, vocab, step_s, partials
        self._endpointer = Endpointer(vocab, step_s, rules)
        self._utterance = search.stream()
        self._parts: list[Array] = []
        self._start = self._heard = 0
        self._shown = ("", 0)
        self._agreement = LocalAgreement(AGREEMENT_S)

    def advance(self, log_probs: Array, *, end: bool = False) -> list[Result]:
        """The results of the next steps (T, V): utterances that have ended, then, if it is new, what was said since.

        end: whether these are the last steps: what was said since is then the final result of `finish`.
        """
        results, added = [], 0
        for endpoint in self._endpointer.advance(log_probs):
            # only an utterance that is divided has been searched beyond its end
            count = max(endpoint.step - self._heard, 0)
            self._add(np.ascontiguousarray(log_probs[added : added + count]))
            added += count
            if result := self._end(endpoint):
                results.append(result)
        self._add(np.ascontiguousarray(log_probs[added:]))
        if self.partials and not end and len(log_probs) and (partial := self._partial()):
            results.append(partial)
        return results

    def finish(self) -> list[Result]:
        """The result of the utterance that the end of the stream ends, if something was said."""
        end = Endpoint(self._heard, "silence", self._endpointer.first, self._endpointer.last)
        result = self._end(end, "end")
        return [result] if result else []

    def _add(self, log_probs: Array) -> None:
        if len(log_probs):
            self._utterance.advance(log_probs)
            self._parts.append(log_probs)
            self._heard += len(log_probs)

    def _end(self, endpoint: Endpoint, reason: str | None = None) -> Result | None:
        count = endpoint.step - self._start
        steps = np.concatenate(self._parts) if self._parts else np.zeros((0, len(self.vocab)), np.float32)
        utterance, rest = self._utterance, steps[count:]
        if len(rest):
            # it has heard more
            utterance = self.search.stream()
            utterance.advance(np.ascontiguousarray(steps[:count]))
        result = self._final(steps[:count], utterance.best(needed_hypotheses(self.config)), endpoint, reason)
        self._utterance, self._parts, self._start, self._shown = self.search.stream(), [], endpoint.step, ("", 0)
        self._agreement = LocalAgreement(AGREEMENT_S)
        self._heard = endpoint.step
        self._add(np.ascontiguousarray(rest))
        return result

    def _final(self, steps: Array, hypotheses: Sequence[Any], endpoint: Endpoint, reason: str | None) -> Result | None:
        is_possible = bool(np.isfinite(hypotheses[0].score))
        if not hypotheses[0].text or not is_possible:
            # takes back what was shown, and says that no allowed word fits what was heard
            seconds = self._seconds(endpoint.step)
            empty = Result("", False, seconds, seconds, reason="" if is_possible else "impossible")
            return empty if self._shown[0] or not is_possible else None
        row = describe(self.config, Emission({}, steps, self.step_s), hypotheses, self.vocab)
        begin_s = self._start * self.step_s
        words = row.get("pred_words")
        if words is not None:
            moved = {"start", "end"}
            words = [{k: round(v + begin_s, 3) if k in moved else v for k, v in word.items()} for word in words]
        return Result(
            row["pred_text"],
            True,
            self._seconds(self._start if endpoint.first is None else endpoint.first),
            self._seconds(endpoint.step if endpoint.last is None else endpoint.last),
            len(row["pred_text"]),
            words,
            row.get("pred_conf"),
            row.get("nbest"),
            reason or endpoint.reason,
        )

    def _partial(self) -> Result | None:
        text = self._utterance.best()[0].text
        shown = text, len(self._agreement.advance(text, self._heard * self.step_s))
        if shown == self._shown:
            return None
        self._shown = shown
        first = self._endpointer.first
        start = self._seconds(self._start if first is None else first)
        return Result(shown[0], False, start, self._seconds(self._heard), shown[1])

    def _seconds(self, step: int) -> float:
        return round(step * self.step_s, 3)
