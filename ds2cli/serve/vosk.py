"""Vosk's protocol, at `/`: exactly one reply for each frame of samples (PROTOCOL.md, "Vosk")."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket

from ds2cli.recognizer.utterances import Result
from ds2cli.serve.refusal import Refusal, bad_request, stopping
from ds2cli.serve.service import Service, StreamOptions
from ds2cli.serve.session import Session
from ds2cli.serve.sockets import (
    ENDS_STREAM,
    Receiver,
    check_rate,
    decode_samples,
    parse_message,
    run_both,
    run_socket,
    send,
    shown,
)
from ds2cli.text.spacing import join_texts

SUBPROTOCOL = "vosk"

RATE = 8000
"""Sample rate until a configuration says another one (Hz): that of Vosk's server, whose clients rely on it."""

MAX_FRAMES = 256
"""Frames of one client that may wait for their reply; then it is not read any more."""

MAX_ALTERNATIVES = 100

UNKNOWN = "[unk]"
"""Stands for any other word in Vosk's phrase lists."""

KEYS = ("sample_rate", "words", "max_alternatives", "phrase_list")


def routes(service: Service) -> list[BaseRoute]:
    """The route of the protocol."""

    async def endpoint(websocket: WebSocket) -> None:
        # Vosk has none, but a browser that offers its token as a subprotocol needs one to be selected
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in websocket.scope["subprotocols"] else None
        await run_socket(websocket, service, "vosk", VoskConnection(websocket, service).run, subprotocol=subprotocol)

    return [WebSocketRoute("/", endpoint)]


@dataclass(frozen=True)
class VoskConfig:
    """What a client has configured.

    rate: of the samples (Hz).  words: whether results have words with times.
    alternatives: hypotheses of a result; 0: one, in another form.  phrases: the only words that are recognized.
    """

    rate: int = RATE
    words: bool = True
    alternatives: int = 0
    phrases: tuple[str, ...] | None = None

    def updated(self, fields: Any) -> VoskConfig:
        """With the fields of a `config` message. Refusal for one that is unknown or impossible."""
        if not isinstance(fields, dict):
            raise bad_request("bad-message", f"config: expected an object, got {shown(fields)}")
        # some clients send null for what they do not set
        fields = {k: v for k, v in fields.items() if v is not None or k not in ("model", "phrase_list")}
        for name in fields.keys() - set(KEYS):
            if name == "model":
                raise bad_request("bad-message", "config: this server has one model: leave the field model out")
            raise bad_request("bad-message", f"config: unknown field {shown(name)}, expected {', '.join(KEYS)}")
        found = self
        if "sample_rate" in fields:
            found = replace(found, rate=check_rate(_number(fields["sample_rate"])))
        if "words" in fields:
            if fields["words"] not in (False, True):
                raise bad_request("bad-message", f"words: expected true or false, got {shown(fields['words'])}")
            found = replace(found, words=bool(fields["words"]))
        if "max_alternatives" in fields:
            found = replace(found, alternatives=_alternatives(fields["max_alternatives"]))
        if "phrase_list" in fields:
            found = replace(found, phrases=_words_of(fields["phrase_list"]))
        return found


@dataclass
class VoskConnection:
    """One connection; `{"reset": 1}` ends a stream on it and begins another one."""

    websocket: WebSocket
    service: Service
    config: VoskConfig = VoskConfig()
    offset_s: float = 0.0
    partial: str = ""
    half: bytes = b""
    end: str = ""
    finished_at: float = 0.0
    refusal: Refusal | None = None
    marks: deque[int] = field(default_factory=deque)
    """For each frame without a reply: the samples of the stream up to its end."""
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_FRAMES))

    def __post_init__(self) -> None:
        self.receiver = Receiver(self.websocket, self.service.config.idle)

    async def run(self) -> None:
        """Serve it to its end. Refusal, which the client has also got as a message; Gone."""
        try:
            if self.service.is_stopping:
                raise stopping()
            while self.end != "eof":
                await self._serve_stream()
        except Refusal as e:
            await self._send({"error": e.message, "code": e.code})
            raise

    async def _serve_stream(self) -> None:
        """From the first frame to the reply to eof or reset."""
        self.end, self.partial, self.half = "", "", b""
        first = await self._receive()
        if isinstance(first, str):
            self._take_text(first)
            if self.end:
                await self._send(self._result(()))
            return
        config = self.config
        session = await self.service.open_session(
            StreamOptions(config.rate, nbest=config.alternatives, words=config.phrases)
        )
        try:
            await run_both(self._read(session, first), self._write(session))
        finally:
            session.close()
        self.offset_s += session.received_s
        if self.refusal is not None:
            raise self.refusal
        if not self.end:
            raise stopping()

    async def _read(self, session: Session, data: str | bytes) -> None:
        """Pass on what comes, up to eof or reset."""
        try:
            while True:
                if isinstance(data, str):
                    self._take_text(data, session)
                    if self.end:
                        break
                else:
                    await self.room.acquire()
                    await self._take_frame(session, data)
                data = await self._receive()
        except Refusal as e:
            if e.code not in ENDS_STREAM:
                raise
            self.refusal = e
        self.finished_at = time.monotonic()
        session.finish()

    async def _take_frame(self, session: Session, data: bytes) -> None:
        samples = self._decode(data)
        if len(samples) or self.marks:
            self.marks.append(session.received + len(samples))
            await session.advance(samples)
        else:
            # all that has come is recognized: nothing new will be delivered
            await self._reply(())

    def _decode(self, data: bytes) -> NDArray[np.float32]:
        """Samples (N,) float32. A frame may end in the middle of one, as those that were read from a pipe do."""
        data = self.half + data
        whole = len(data) // 2 * 2
        self.half = data[whole:]
        return decode_samples(data[:whole])

    def _take_text(self, text: str, session: Session | None = None) -> None:
        message = parse_message(text)
        if len(message) != 1:
            raise _unknown(text)
        ((name, value),) = message.items()
        if name == "config":
            config = self.config.updated(value)
            if session is not None and config != self.config:
                raise bad_request("bad-message", 'config: change it before the first frame, or after {"reset": 1}')
            self.config = config
        elif name in ("eof", "reset") and value in (1, True):
            self.end = name
        else:
            raise _unknown(text)

    async def _write(self, session: Session) -> None:
        finals: list[Result] = []
        async for delivery in session.deliveries():
            if delivery.ended:
                # the results of this delivery belong to the reply that the client waits for at the end
                while self.marks:
                    await self._reply_to_frame(())
            for result in delivery.results:
                self.partial = "" if result.final else result.text
                if result.final:
                    finals.append(result)
            while self.marks and self.marks[0] <= delivery.heard:
                found, finals = finals, []
                await self._reply_to_frame(found)
        if self.end or finals:
            await self._send(self._result(finals))
        if self.end:
            self.service.metrics.final_seconds.observe(time.monotonic() - self.finished_at)

    async def _reply_to_frame(self, finals: Sequence[Result]) -> None:
        self.marks.popleft()
        await self._reply(finals)

    async def _reply(self, finals: Sequence[Result]) -> None:
        await self._send(self._result(finals) if finals else {"partial": self.partial})
        self.room.release()

    def _result(self, finals: Sequence[Result]) -> dict[str, Any]:
        """The message of utterances that have ended, maybe none."""
        words = [
            {"conf": w["conf"], "start": self._time(w["start"]), "end": self._time(w["end"]), "word": w["word"]}
            for result in finals
            for w in result.words or ()
        ]
        shown_words = {"result": words} if words and self.config.words else {}
        if not self.config.alternatives:
            return {**shown_words, "text": join_texts(result.text for result in finals)}
        lists = [result.nbest or [{"text": result.text, "score": 0.0}] for result in finals]
        found: list[dict[str, Any]] = []
        for i in range(max(map(len, lists), default=0)):
            # an utterance with fewer hypotheses repeats its last one
            chosen = [hypotheses[min(i, len(hypotheses) - 1)] for hypotheses in lists]
            found.append(
                {
                    "confidence": round(sum(h["score"] for h in chosen), 4),
                    "text": join_texts(h["text"] for h in chosen),
                    **({} if i else shown_words),
                }
            )
        return {"alternatives": found or [{"confidence": 1.0, "text": ""}]}

    def _time(self, seconds: float) -> float:
        return round(self.offset_s + seconds, 3)

    async def _receive(self) -> str | bytes:
        return await self.receiver.receive()

    async def _send(self, message: dict[str, Any]) -> None:
        await send(self.websocket, json.dumps(message, ensure_ascii=False), self.service.config.idle)


def _number(value: Any) -> Any:
    """A number that came as text, which Vosk's server takes too."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    return value


def _alternatives(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_ALTERNATIVES:
        raise bad_request("bad-message", f"max_alternatives: expected 0 to {MAX_ALTERNATIVES}, got {shown(value)}")
    return value


def _words_of(phrases: Any) -> tuple[str, ...] | None:
    """The words of a phrase list; None if it is empty, as all words are allowed then."""
    if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
        raise bad_request("bad-message", f"phrase_list: expected a list of texts, got {shown(phrases)}")
    words = dict.fromkeys(word for phrase in phrases for word in phrase.split() if word != UNKNOWN)
    return tuple(words) or None


def _unknown(text: str) -> Refusal:
    expected = '{"config": {…}}, {"eof": 1} or {"reset": 1}'
    return bad_request("bad-message", f"expected {expected}, or samples as a binary frame, got {shown(text)}")
