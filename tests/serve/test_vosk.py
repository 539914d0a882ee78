"""Vosk's protocol: its PyPI client unmodified, and the messages of the sample clients of its server."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import wave

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ds2cli import Recognizer
from ds2cli.recognizer.utterances import Result
from ds2cli.serve.vosk import VoskConfig, VoskConnection
from tests.serve.conftest import running_server, speech, talk
from tests.serve.kaldi_model import write_kaldi_model

PORT = 2700
"""The only port that vosk-transcriber knows."""

CONFIG_16K = '{ "config" : { "sample_rate" : 16000 } }'
EOF = '{"eof" : 1}'


def vosk(server, **options):
    """A connection, as the sample clients open it."""
    return connect(server.ws, proxy=None, **options)


def finals(exp, samples, rate=16000):
    """What a stream of our own recognizes."""
    stream = Recognizer(str(exp)).stream(rate)
    return [result for result in [*stream.advance(samples), *stream.finish()] if result.final]


def moved(words, seconds):
    """The words of a result `seconds` later, with Vosk's fields."""
    return [
        {"conf": w["conf"], "start": round(w["start"] + seconds, 3), "end": round(w["end"] + seconds, 3),
         "word": w["word"]}
        for w in words
    ]  # fmt: skip


def send_in_turn(ws, samples, size=3200):
    """Send frames and wait for the reply to each."""
    replies = []
    for begin in range(0, len(samples), size):
        ws.send(samples[begin : begin + size].tobytes())
        replies.append(json.loads(ws.recv()))
    return replies


def closed_with(ws):
    """Code and reason of the close frame that comes next."""
    with pytest.raises(ConnectionClosed) as closed:
        ws.recv(timeout=20)
    return closed.value.rcvd.code, closed.value.rcvd.reason


def test_one_reply_to_each_frame_and_the_texts_of_the_recognizer(server, exp):
    samples = talk()
    with vosk(server) as ws:
        ws.send('{ "config" : { "sample_rate" : 16000.000000 } }')
        replies = send_in_turn(ws, samples)
        ws.send(EOF)
        replies.append(json.loads(ws.recv()))
        assert closed_with(ws) == (1000, "")
    assert len(replies) == len(samples) // 3200 + 1
    assert all(set(reply) in ({"partial"}, {"text"}, {"result", "text"}) for reply in replies)
    assert sum(bool(reply.get("partial")) for reply in replies) > 5
    results = [reply for reply in replies if "result" in reply]
    expected = finals(exp, samples)
    assert len(expected) == 3
    assert " ".join(reply["text"] for reply in results) == " ".join(result.text for result in expected)
    assert [w for reply in results for w in reply["result"]] == moved([w for r in expected for w in r.words], 0)


@pytest.mark.parametrize("size", [1, 160, 48000], ids=["samples", "10 ms", "3 s"])
def test_frames_sent_ahead_get_their_replies_in_order(server, exp, size):
    samples = talk()[: 400 if size == 1 else None]
    frames = [samples[i : i + size].tobytes() for i in range(0, len(samples), size)]
    with vosk(server) as ws:
        ws.send(CONFIG_16K)
        for frame in frames:
            ws.send(frame)
        ws.send(EOF)
        replies = [json.loads(reply) for reply in ws]
    assert len(replies) == len(frames) + 1
    # the text that a client of the last reply alone shows is not lost in an earlier one
    expected = finals(exp, samples)
    assert " ".join(filter(None, (r.get("text") for r in replies))) == " ".join(r.text for r in expected)
    assert "text" in replies[-1] and (replies[-1]["text"] or size == 1)


def test_empty_frames_have_a_reply_too(server):
    with vosk(server) as ws:
        ws.send(b"")
        assert json.loads(ws.recv()) == {"partial": ""}
        ws.send(speech(1, rate=8000).tobytes())
        for _ in range(1000):
            ws.send(b"")
        replies = [json.loads(ws.recv()) for _ in range(1001)]
        assert all("partial" in reply for reply in replies)


def test_the_default_rate_is_that_of_vosks_server(server, exp):
    """Its samples for node, C#, PHP and Go send no configuration, and recordings of 8 kHz."""
    samples = speech(6, rate=8000)
    with vosk(server) as ws:
        replies = send_in_turn(ws, samples, 4000)
        ws.send(EOF)
        replies.append(json.loads(ws.recv()))
    texts = [reply["text"] for reply in replies if reply.get("text")]
    assert " ".join(texts) == " ".join(result.text for result in finals(exp, samples, 8000)) != ""


def test_a_frame_may_end_within_a_sample(server, exp):
    samples = speech(6)
    data = samples.tobytes()
    with vosk(server) as ws:
        ws.send(CONFIG_16K)
        for begin in range(0, len(data), 3999):
            ws.send(data[begin : begin + 3999])
        ws.send(EOF)
        texts = [reply["text"] for reply in map(json.loads, ws) if reply.get("text")]
    assert " ".join(texts) == " ".join(result.text for result in finals(exp, samples))


@pytest.mark.parametrize("message", ['{"eof":1}', '{ "eof" : 1 }', '{"eof": true}', '\n{"eof"\t:\n1}'])
def test_eof_in_any_spacing(server, message):
    with vosk(server) as ws:
        ws.send(message)
        assert json.loads(ws.recv()) == {"text": ""}
        assert closed_with(ws)[0] == 1000


def test_reset_begins_a_stream_whose_times_go_on(server, exp):
    samples = speech(5)
    expected = finals(exp, samples)
    with vosk(server) as ws:
        ws.send('{"reset" : 1}')
        assert json.loads(ws.recv()) == {"text": ""}
        ws.send('{"config": {"sample_rate": 8000, "model": null, "phrase_list": null, "max_alternatives": 0}}')
        ws.send('{"config": {"sample_rate": 16000}}')
        for i in range(3):
            replies = send_in_turn(ws, samples)
            # what changes nothing may come at any time
            ws.send(CONFIG_16K)
            ws.send('{"reset":1}')
            replies.append(json.loads(ws.recv()))
            found = [reply for reply in replies if "result" in reply]
            assert [reply["text"] for reply in found] == [result.text for result in expected]
            assert found[-1] is replies[-1]
            assert [w for r in found for w in r["result"]] == moved([w for r in expected for w in r.words], 5.0 * i)
        ws.send(EOF)
        assert json.loads(ws.recv()) == {"text": ""}


def test_the_subprotocol_is_selected_if_it_is_offered(server):
    with vosk(server, subprotocols=["other", "vosk"]) as ws:
        assert ws.subprotocol == "vosk"
    with vosk(server) as ws:
        assert ws.subprotocol is None


@pytest.mark.parametrize(("texts", "joined"), [(("打开", "设置"), "打开设置"), (("one", "two"), "one two")])
def test_several_utterances_of_a_frame(texts, joined):
    class Service:
        class config:
            idle = 1.0

    found = [Result(text, True, 0.0, 1.0, words=[], nbest=[{"text": text, "score": -1.0}]) for text in texts]
    connection = VoskConnection(None, Service)
    assert connection._result(found) == {"text": joined}
    connection.config = VoskConfig(alternatives=1)
    assert connection._result(found) == {"alternatives": [{"confidence": -2.0, "text": joined}]}


def test_a_result_without_words(server):
    with vosk(server) as ws:
        ws.send('{"config" : {"sample_rate" : 16000, "words" : 0}}')
        send_in_turn(ws, speech(4))
        ws.send(EOF)
        reply = json.loads(ws.recv())
    assert set(reply) == {"text"} and reply["text"]


def test_alternatives(server, exp):
    samples = speech(4)
    with vosk(server) as ws:
        ws.send('{"config" : { "max_alternatives" : 20, "sample_rate" : 16000 } }')
        ws.send(EOF)
        assert json.loads(ws.recv()) == {"alternatives": [{"confidence": 1.0, "text": ""}]}
    with vosk(server) as ws:
        ws.send('{"config" : { "max_alternatives" : 20, "sample_rate" : 16000 } }')
        send_in_turn(ws, samples)
        ws.send(EOF)
        (field,) = json.loads(ws.recv()).items()
    name, alternatives = field
    expected = finals(exp, samples)[-1]
    assert name == "alternatives" and 1 < len(alternatives) <= 20
    # confidences depend on the number of hypotheses
    assert alternatives[0]["text"] == expected.text
    assert [{**w, "conf": 0} for w in alternatives[0]["result"]] == [{**w, "conf": 0} for w in moved(expected.words, 0)]
    assert all(set(other) == {"confidence", "text"} for other in alternatives[1:])
    confidences = [alternative["confidence"] for alternative in alternatives]
    assert confidences == sorted(confidences, reverse=True)


def test_a_phrase_list_allows_its_words_only(server):
    with vosk(server) as ws:
        ws.send('{"config": {"phrase_list": ["zero one two", "[unk]", "oh yes"], "sample_rate": 16000}}')
        send_in_turn(ws, speech(6))
        ws.send(EOF)
        text = json.loads(ws.recv())["text"]
    assert set(text.split()) <= {"zero", "one", "two", "oh", "yes"}


REFUSED = {
    "hello": "expected a JSON object",
    "[]": "expected a JSON object",
    "{}": "or samples as a binary frame",
    '{"eof": 0}': "got '{\"eof\": 0}'",
    '{"eof": 1, "reset": 1}': "expected",
    '{"type": "start"}': "expected",
    '{"config": 8000}': "config: expected an object, got 8000",
    '{"config": {"rate": 8000}}': "unknown field 'rate', expected sample_rate, words, max_alternatives, phrase_list",
    '{"config": {"model": "/etc"}}': "this server has one model",
    '{"config": {"sample_rate": 16000.5}}': "expected 4000 to 192000 Hz, got 16000.5",
    '{"config": {"sample_rate": "much"}}': "got 'much'",
    '{"config": {"sample_rate": NaN}}': "expected a JSON object",
    '{"config": {"sample_rate": null}}': "got None",
    '{"config": {"words": "no"}}': "words: expected true or false, got 'no'",
    '{"config": {"words": [[[]]]}}': "words: expected true or false",
    '{"config": {"max_alternatives": 1e9}}': "max_alternatives: expected 0 to 100",
    '{"config": {"max_alternatives": -1}}': "max_alternatives: expected 0 to 100, got -1",
    '{"config": {"phrase_list": "one two"}}': "phrase_list: expected a list of texts",
    '{"config": {"phrase_list": [1]}}': "phrase_list: expected a list of texts",
    '{"config": {"phrase_list": ["\\ud800"]}}': "cannot be written",
    "[" * 100_000: "expected a JSON object",
}


@pytest.mark.parametrize("message", REFUSED, ids=lambda text: text[:40])
def test_what_is_not_understood_is_refused_in_words(server, message):
    with vosk(server) as ws:
        ws.send(message)
        # some errors are found when the stream begins
        with contextlib.suppress(ConnectionClosed):
            ws.send(bytes(3200))
        reply = json.loads(ws.recv())
        assert set(reply) == {"error", "code"} and REFUSED[message] in reply["error"]
        code, reason = closed_with(ws)
        assert code == 1008 and reply["error"].startswith(reason) and reason


def test_audio_then_another_configuration(server):
    with vosk(server) as ws:
        ws.send(bytes(3200))
        assert json.loads(ws.recv()) == {"partial": ""}
        ws.send(CONFIG_16K)
        assert json.loads(ws.recv())["error"].startswith("config: change it before the first frame")
        assert closed_with(ws)[0] == 1008


@pytest.fixture(scope="module")
def limited(exp):
    """A server with low limits."""
    with running_server(exp, "--idle", 1, "--max-stream", 6, "--max-streams", 1) as server:
        yield server


def test_the_text_of_a_client_that_falls_silent_is_not_lost(limited, exp):
    samples = speech(4)
    with vosk(limited) as ws:
        ws.send(CONFIG_16K)
        send_in_turn(ws, samples)
        assert json.loads(ws.recv())["text"] == finals(exp, samples)[-1].text
        assert json.loads(ws.recv()) == {"error": "nothing was received for 1 s", "code": "idle"}
        assert closed_with(ws) == (1001, "nothing was received for 1 s")


def test_the_text_of_a_stream_that_is_too_long_is_not_lost(limited):
    with vosk(limited) as ws:
        ws.send(CONFIG_16K)
        samples = speech(8)
        for begin in range(0, len(samples), 3200):
            ws.send(samples[begin : begin + 3200].tobytes())
        *replies, last, error = map(json.loads, _rest(ws))
        assert len(replies) == 31 and last["text"] and error["code"] == "too-long"
        assert ws.close_code == 1009


def _rest(ws):
    """All that still comes before the close frame."""
    found = []
    while True:
        try:
            found.append(ws.recv(timeout=20))
        except ConnectionClosed:
            return found


def test_a_full_server_says_so(limited):
    with vosk(limited) as first, vosk(limited) as second:
        first.send(bytes(3200))
        first.recv()
        second.send(bytes(3200))
        reply = json.loads(second.recv())
        assert reply["code"] == "overloaded" and "try again later" in reply["error"]
        assert closed_with(second)[0] == 1013
        # the other one has not noticed
        first.send(EOF)
        assert "text" in json.loads(first.recv())


def test_a_server_that_is_stopped_sends_what_it_has_recognized(exp):
    samples = speech(4)
    with running_server(exp, "--drain", 1) as server:
        with vosk(server) as ws:
            ws.send(CONFIG_16K)
            send_in_turn(ws, samples)
            server.process.terminate()
            assert json.loads(ws.recv())["text"] == finals(exp, samples)[-1].text
            assert json.loads(ws.recv())["code"] == "stopping"
            assert closed_with(ws)[0] == 1012
        assert server.process.wait(20) == 0


def write_recordings(folder, exp, count, seconds=4):
    """Recordings of several kinds, and the texts of their samples at 16 kHz."""
    folder.mkdir()
    texts = {}
    for i in range(count):
        samples = speech(seconds + i % 3, seed=i)
        with wave.open(str(folder / f"recording {i}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(samples.tobytes())
        texts[f"recording {i}"] = [result.text for result in finals(exp, samples)]
    return texts


def free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def transcribe(exp, tmp_path_factory):
    """Run PyPI's vosk-transcriber with a server that listens where it connects to."""
    pytest.importorskip("vosk", reason="needs PyPI's vosk")
    program = shutil.which("vosk-transcriber", path=os.path.dirname(sys.executable)) or shutil.which("vosk-transcriber")
    if program is None or shutil.which("ffmpeg") is None:
        pytest.skip("needs the programs vosk-transcriber and ffmpeg")
    deadline = time.monotonic() + 30
    while not free(PORT):
        if time.monotonic() > deadline:
            pytest.skip(f"needs port {PORT}, which another program has")
        time.sleep(0.5)
    model = tmp_path_factory.mktemp("kaldi") / "model"
    write_kaldi_model(model)

    def run(*arguments):
        command = [program, "--server", "--model", str(model), *map(str, arguments)]
        # a proxy of the environment is of no use for this machine's own address
        env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env, check=False)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
        return done.stdout

    with running_server(exp, "--port", PORT):
        yield run


def test_vosk_transcriber_writes_many_texts_at_once(transcribe, exp, tmp_path):
    texts = write_recordings(tmp_path / "in", exp, 12)
    (tmp_path / "out").mkdir()
    transcribe("--input", tmp_path / "in", "--output", tmp_path / "out", "--tasks", 10)
    found = {path.stem: path.read_text().split("\n")[:-1] for path in (tmp_path / "out").iterdir()}
    assert found == texts and all(texts.values())


def test_vosk_transcriber_writes_subtitles(transcribe, exp, tmp_path):
    texts = write_recordings(tmp_path / "in", exp, 1, seconds=12)
    transcribe("-i", tmp_path / "in" / "recording 0.wav", "-o", tmp_path / "out.srt", "-t", "srt")
    cues = (tmp_path / "out.srt").read_text().strip().split("\n\n")
    lines = [cue.split("\n") for cue in cues]
    assert " ".join(text for _, _, text in lines) == " ".join(texts["recording 0"])
    assert all(re.fullmatch(r"00:00:\d\d,\d{3} --> 00:00:\d\d,\d{3}", times) for _, times, _ in lines)
    starts = [times[:12] for _, times, _ in lines]
    assert starts == sorted(starts) and len(lines) > 1


def test_vosk_transcriber_of_a_compressed_recording(transcribe, exp, tmp_path):
    write_recordings(tmp_path / "in", exp, 1)
    converted = tmp_path / "a.ogg"
    subprocess.run(["ffmpeg", "-loglevel", "error", "-i", tmp_path / "in" / "recording 0.wav", converted], check=True)
    assert transcribe("-i", converted).strip()
