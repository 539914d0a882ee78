"""Our own protocol, `/stream`: every message of PROTOCOL.md, and what is refused."""

from __future__ import annotations

import contextlib
import json
import re
import time

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ds2cli import Recognizer
from tests.serve.conftest import ROOT, running_server, speech, talk
from tests.serve.raw_socket import BINARY, PING, TEXT, RawSocket, frame

PROTOCOL = (ROOT / "ds2cli" / "serve" / "PROTOCOL.md").read_text()


def stream(server, **options):
    """A connection."""
    return connect(f"{server.ws}/stream", proxy=None, **options)


def recognize(server, samples, size=1600, **start):
    """All messages of a stream."""
    with stream(server) as ws:
        ws.send(json.dumps({"type": "start", **start}))
        for begin in range(0, len(samples), size):
            ws.send(samples[begin : begin + size].tobytes())
        ws.send('{"type": "finish"}')
        messages = [json.loads(message) for message in ws]
        assert ws.close_code == 1000
    return messages


def finals(exp, samples, rate=16000, **options):
    """What a stream of our own recognizes."""
    own = Recognizer(str(exp), **options).stream(rate)
    return [result for result in [*own.advance(samples), *own.finish()] if result.final]


def rest(ws):
    """The messages up to the close frame, and its code."""
    found = []
    while True:
        try:
            found.append(json.loads(ws.recv(timeout=20)))
        except ConnectionClosed as e:
            return found, e.rcvd.code


def of_type(kind, messages):
    return [message for message in messages if message["type"] == kind]


def test_texts_are_those_of_the_recognizer(server, exp):
    samples = talk()
    messages = recognize(server, samples)
    expected = finals(exp, samples)
    found = of_type("final", messages)
    assert [m["text"] for m in found] == [r.text for r in expected] and len(expected) == 3
    assert [m["words"] for m in found] == [r.words for r in expected]
    assert [(m["start"], m["end"], m["reason"], m["conf"]) for m in found] == [
        (r.start_s, r.end_s, r.reason, r.confidence) for r in expected
    ]
    assert messages[0]["type"] == "ready" and messages[-1] == {"type": "end", "duration": len(samples) / 16000}
    assert {m["type"] for m in messages} == {"ready", "partial", "progress", "final", "end"}


def test_partial_texts_grow_and_say_how_much_is_stable(server):
    messages = recognize(server, speech(6))
    partials = of_type("partial", messages)
    assert len(partials) >= 2
    for message in partials:
        assert 0 <= message["stable"] <= len(message["text"]) and message["start"] <= message["end"] <= 6
    ends = [message["end"] for message in partials]
    assert ends == sorted(ends)


def test_the_fields_of_start_are_obeyed(server, exp):
    samples = talk(2)
    messages = recognize(server, samples, partials=False, nbest=3, endpoint_silence=0)
    (final,) = of_type("final", messages)
    assert not of_type("partial", messages)
    assert 1 < len(final["nbest"]) <= 3 and final["nbest"][0]["text"] == final["text"]
    assert "length" in {m["reason"] for m in of_type("final", recognize(server, samples, endpoint_length=2.0))}


def test_floats_and_other_rates(server, exp):
    samples = talk(2, rate=44100)
    floats = samples.astype("<f4") / np.float32(32768)
    texts = [r.text for r in finals(exp, samples, 44100)]
    for data, encoding in ((samples, "s16le"), (floats, "f32le")):
        messages = recognize(server, data, 4410, sample_rate=44100.0, encoding=encoding)
        assert messages[0]["sample_rate"] == 44100 and messages[0]["encoding"] == encoding
        assert [m["text"] for m in of_type("final", messages)] == texts


def test_hotwords_and_words(server, exp, tmp_path):
    samples = speech(4)
    hotwords = ["cucu", "dicic"]
    (tmp_path / "hotwords").write_text("\n".join(hotwords))
    (found,) = of_type("final", recognize(server, samples, hotwords=hotwords, nbest=5))
    (expected,) = finals(exp, samples, hotwords=str(tmp_path / "hotwords"), nbest=5)
    assert found["nbest"] == expected.nbest != of_type("final", recognize(server, samples, nbest=5))[0]["nbest"]
    found = of_type("final", recognize(server, samples, words=["yes", "no"]))
    assert {word for m in found for word in m["text"].split()} <= {"yes", "no"}


def test_a_client_that_sends_faster_than_real_time_is_held_back(server):
    samples = np.tile(talk(), 6)
    messages = recognize(server, samples, size=800)
    progress = of_type("progress", messages)
    assert len(progress) > 10 and progress[-1]["heard"] > len(samples) / 16000 - 2
    assert max(m["received"] - m["heard"] for m in progress) <= messages[0]["buffer_s"] + 0.1


def test_a_bidirectional_network_writes_at_the_end(bidirectional_exp):
    samples = talk()
    with running_server(bidirectional_exp, "--max-stream", 1000) as server:
        messages = recognize(server, samples)
        assert messages[0]["look_ahead_s"] is None and messages[0]["max_s"] == 600.0
        assert not of_type("partial", messages)
        assert [m["text"] for m in of_type("final", messages)] == [r.text for r in finals(bidirectional_exp, samples)]


@pytest.mark.slow
def test_pings_come_and_a_missing_pong_closes_nothing(server):
    with RawSocket(server.port) as ws:
        ws.open("/stream")
        begin, pings = time.monotonic(), 0
        ws.socket.settimeout(1)
        while time.monotonic() < begin + 45:
            ws.send(frame(BINARY, bytes(3200)))
            with contextlib.suppress(TimeoutError):
                found = ws.read_frame()
                pings += found.opcode == PING
        assert pings == 2
        ws.send(frame(TEXT, b'{"type": "finish"}'))
        ws.socket.settimeout(20)
        *_, end, close = ws.read_frames()
        assert end.json["type"] == "end" and close.code == 1000


def test_samples_may_come_first(server):
    with stream(server) as ws:
        ws.send(speech(2).tobytes())
        ws.send('{"type": "finish"}')
        messages, code = rest(ws)
    assert messages[0] == {**messages[0], "type": "ready", "sample_rate": 16000, "encoding": "s16le"}
    assert messages[-1] == {"type": "end", "duration": 2.0} and code == 1000


def test_a_stream_without_samples_ends(server):
    assert [m["type"] for m in recognize(server, speech(0))] == ["ready", "end"]


def test_pings_before_within_and_after_the_samples(server):
    with stream(server) as ws:
        ws.send('{"type": "ping"}')
        assert json.loads(ws.recv()) == {"type": "pong"}
        ws.send('{"type": "start"}')
        ws.send('{"type": "ping", "id": "\u00e9"}')
        ws.send('{"type": "finish"}')
        with contextlib.suppress(ConnectionClosed):
            # the end may have come before
            ws.send('{"type": "finish"}')
        messages, code = rest(ws)
    assert {"type": "pong", "id": "é"} in messages and code == 1000


def test_the_subprotocol_is_selected_if_it_is_offered(server):
    with stream(server, subprotocols=["other", "ds2"]) as ws:
        assert ws.subprotocol == "ds2"
    with stream(server, subprotocols=["other"]) as ws:
        assert ws.subprotocol is None


def test_a_ping_frame_has_a_pong(server):
    with stream(server) as ws:
        assert ws.ping(b"hello").wait(10)


REFUSED = {
    "hello": "expected a JSON object, got 'hello'",
    '{"type": "finish"}': "type: expected start, or ping, as the first message, got 'finish'",
    '{"sample_rate": 8000}': "as the first message, got None",
    '{"type": "start", "rate": 8000}': "start: unknown field 'rate', expected encoding, endpoint_length",
    '{"type": "start", "sample_rate": 1000}': "sample_rate: expected 4000 to 192000 Hz, got 1000",
    '{"type": "start", "sample_rate": true}': "got True",
    '{"type": "start", "sample_rate": Infinity}': "expected a JSON object",
    '{"type": "start", "sample_rate": 1e400}': "got inf",
    '{"type": "start", "sample_rate": "8000"}': "got '8000'",
    '{"type": "start", "encoding": "mp3"}': "encoding: expected s16le or f32le, got 'mp3'",
    '{"type": "start", "encoding": ["s16le"]}': "encoding: expected s16le or f32le",
    '{"type": "start", "partials": 1}': "partials: expected true or false, got 1",
    '{"type": "start", "nbest": 101}': "nbest: expected 0 to 100, got 101",
    '{"type": "start", "nbest": 1.5}': "nbest: expected 0 to 100, got 1.5",
    '{"type": "start", "hotwords": "one"}': "hotwords: expected a list of texts, got 'one'",
    '{"type": "start", "hotwords": ["\\ud800"]}': "cannot be written",
    '{"type": "start", "words": []}': "no words",
    '{"type": "start", "words": [" "]}': "",
    '{"type": "start", "endpoint_silence": -1}': "endpoint_silence",
    '{"type": "start", "endpoint_silence": 1e400}': "endpoint_silence",
    '{"type": "start", "endpoint_length": 0}': "endpoint_length: expected more than 0",
    '{"type": "start", "endpoint_length": "long"}': "endpoint_length",
    '{"type": "ping", "time": 1}': "ping: unknown field 'time', expected id",
    '{"type": "ping", "id": 1e400}': "id: expected a text or a number, got inf",
    '{"type": "ping", "id": [1]}': "id: expected a text or a number, got [1]",
    f'{{"type": "ping", "id": "{"x" * 100_000}"}}': "a text message has 100026 characters, expected at most 100000",
    f'{{"type": {"[" * 900}1{"]" * 900}}}': "as the first message, got",
}


LONG = [["a" * 101], ["a"] * 1001, ["a" * 50] * 401, ["a b" * 30_000]]


@pytest.mark.parametrize("name", ["hotwords", "words"])
@pytest.mark.parametrize("phrases", LONG, ids=lambda phrases: f"{len(phrases)} of {len(phrases[0])}")
def test_phrases_that_would_take_long(server, name, phrases):
    with stream(server) as ws:
        ws.send(json.dumps({"type": "start", name: phrases}))
        (error,), code = rest(ws)
    assert error["code"] == "too-many-phrases" and code == 1008


@pytest.mark.parametrize("message", REFUSED, ids=lambda text: text[:50])
def test_a_first_message_that_is_not_understood(server, message):
    with stream(server) as ws:
        ws.send(message)
        (error,), code = rest(ws)
    assert error["type"] == "error" and REFUSED[message] in error["message"] and code == 1008
    assert len(error["message"]) < 400 and "\n" not in error["message"]


LATER = {
    '{"type": "start"}': "start: the stream has begun",
    '{"type": "stop"}': "type: expected finish or ping, got 'stop'",
    '{"type": ["finish"]}': "type: expected finish or ping, got ['finish']",
    '{"type": "finish", "now": true}': "finish: unknown field 'now', expected none",
    b"abc": "a frame has 3 bytes, expected samples of 2 bytes (s16le)",
}


@pytest.mark.parametrize("message", LATER, ids=lambda text: str(text[:50]))
def test_a_later_message_that_is_not_understood(server, message):
    with stream(server) as ws:
        ws.send('{"type": "start"}')
        ws.send(message)
        (_, error), code = rest(ws)
    assert error["type"] == "error" and LATER[message] in error["message"] and code == 1008


def test_samples_after_the_end(server):
    with stream(server) as ws:
        ws.send(speech(3).tobytes())
        ws.send('{"type": "finish"}')
        ws.send(speech(1).tobytes())
        messages, code = rest(ws)
    assert (messages[-1]["type"], code) in (("error", 1008), ("end", 1000))


def test_samples_that_are_no_numbers(server):
    with stream(server) as ws:
        ws.send('{"type": "start", "encoding": "f32le"}')
        ws.send(np.full(16000, np.nan, "<f4").tobytes())
        messages, code = rest(ws)
    assert messages[-1]["code"] == "not-a-number" and code == 1008


def test_a_message_that_is_too_large(server):
    with stream(server) as ws:
        ws.send(bytes(1 << 20))
        ws.send(bytes((1 << 20) + 2))
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                ws.recv(timeout=20)
        assert closed.value.rcvd.code == 1009


def test_what_was_said_comes_before_a_stream_is_ended_for_it(exp):
    samples = speech(4)
    expected = finals(exp, samples)[-1].text
    with running_server(exp, "--idle", 1, "--max-stream", 6, "--drain", 0.2) as server:
        with stream(server) as ws:
            ws.send(samples.tobytes())
            begin = time.monotonic()
            while time.monotonic() < begin + 2:
                # a muted microphone
                time.sleep(0.4)
                ws.send('{"type": "ping"}')
            messages, code = rest(ws)
            final, error = of_type("final", messages)[-1], messages[-1]
            assert messages[0]["idle_s"] == 1.0 and messages[0]["max_s"] == 6.0
            assert final["text"] == expected and final["reason"] == "end"
            assert error == {"type": "error", "code": "idle", "message": "nothing was received for 1 s"}
            assert code == 1001 and time.monotonic() > begin + 2
        with stream(server) as ws:
            ws.send(samples.tobytes())
            ws.send(samples.tobytes())
            messages, code = rest(ws)
            assert (
                of_type("final", messages)[-1]["text"] == expected
                and messages[-1]["code"] == "too-long"
                and code == 1009
            )
        with stream(server) as ws:
            ws.send(samples.tobytes())
            ws.recv()
            server.process.terminate()
            messages, code = rest(ws)
            assert (
                of_type("final", messages)[-1]["text"] == expected
                and messages[-1]["code"] == "stopping"
                and code == 1012
            )
        assert server.process.wait(20) == 0


def examples():
    """The blocks of PROTOCOL.md with messages, as lists of lines."""
    blocks = re.findall(r"^```\n(.*?)^```$", PROTOCOL, re.MULTILINE | re.DOTALL)
    return [block.splitlines() for block in blocks]


@pytest.mark.parametrize("lines", examples(), ids=lambda lines: lines[0][:60])
def test_the_examples_of_the_document(server, lines):
    """Each message that it shows is sent, and each that it shows as an answer comes, with just these fields."""
    is_vosk = not any('"type"' in line for line in lines)
    url = server.ws if is_vosk else f"{server.ws}/stream"
    rate = 8000 if any('"sample_rate": 8000' in line for line in lines) else 16000
    samples = speech(4, rate=rate)
    data = samples.astype("<f4") / 32768 if any("f32le" in line for line in lines) else samples
    received = []
    with connect(url, proxy=None) as ws:
        for line in lines:
            sign, message = line.split(" ", 1)
            if sign == ">" and message.startswith("binary"):
                ws.send(data.tobytes())
                if not is_vosk:
                    ws.send(np.zeros(2 * rate, data.dtype).tobytes())
            elif sign == ">":
                json.loads(message)
                ws.send(message)
        received, _ = rest(ws)
    shown = [json.loads(line[2:]) for line in lines if line.startswith("< ")]
    assert shown
    if is_vosk:
        assert [set(m) for m in received] == [set(m) for m in shown]
        return
    kinds = {}
    for message in received:
        kinds.setdefault(message["type"], set()).add(tuple(sorted(message)))
    for message in shown:
        assert tuple(sorted(message)) in kinds[message["type"]], message
    assert {m["type"] for m in received} <= {m["type"] for m in shown} | {"progress"}


def test_each_code_of_an_error_is_in_the_document():
    """Those that streams raise."""
    names = ("refusal", "service", "session", "sockets", "stream", "vosk", "guard", "origins")
    sources = [ROOT / "ds2cli" / "serve" / f"{name}.py" for name in names]
    raised = {
        code for path in sources for code in re.findall(r'(?:Refusal|bad_request)\(\s*"([a-z-]+)"', path.read_text())
    }
    # these two are of HTTP alone
    assert len(raised) > 10 and raised - set(re.findall(r"`([a-z-]+)`", PROTOCOL)) <= {"bad-request", "too-large"}
