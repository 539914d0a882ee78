"""Our own protocol, `/stream`."""

from __future__ import annotations

import json

from websockets.sync.client import connect

from ds2cli import Recognizer
from tests.serve.conftest import speech


def recognize(server, samples, size=1600, **start):
    """All messages of a stream."""
    messages = []
    with connect(f"{server.ws}/stream", proxy=None) as ws:
        ws.send(json.dumps({"type": "start", **start}))
        for begin in range(0, len(samples), size):
            ws.send(samples[begin : begin + size].tobytes())
        ws.send('{"type": "finish"}')
        messages += [json.loads(message) for message in ws]
        assert ws.close_code == 1000
    return messages


def test_texts_are_those_of_the_recognizer(server, exp):
    samples = speech(12)
    messages = recognize(server, samples)
    stream = Recognizer(str(exp)).stream(16000)
    finals = [result for result in [*stream.advance(samples), *stream.finish()] if result.final]
    found = [message for message in messages if message["type"] == "final"]
    assert [m["text"] for m in found] == [r.text for r in finals] and len(finals) >= 1
    assert [m["words"] for m in found] == [r.words for r in finals]
    assert messages[0]["type"] == "ready" and messages[-1] == {"type": "end", "duration": 12.0}
