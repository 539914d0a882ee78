"""Uploads that are damaged, too large, too slow, too many, or left: limits, processes that decode, the drain."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np
import openai
import pytest
import soundfile

from ds2cli import Recognizer
from tests.serve.conftest import running_server, speech
from tests.serve.test_openai import MODEL, client_of, wav

PATH = "/v1/audio/transcriptions"
BOUNDARY = "x7"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def part(name, data, filename=None):
    """A part of a form."""
    disposition = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
    return b"--%s\r\nContent-Disposition: %s\r\n\r\n%s\r\n" % (BOUNDARY.encode(), disposition.encode(), data)


def form(data, filename="a.wav", **fields):
    """The body of a request."""
    parts = [part(name, value.encode()) for name, value in {"model": MODEL, **fields}.items()]
    return b"".join([*parts, part("file", data, filename), b"--%s--\r\n" % BOUNDARY.encode()])


def post(server, body, headers=None, timeout=60.0):
    """Send a request: status, headers, JSON or text. body: bytes, or an iterator, which is sent in chunks."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    with contextlib.closing(connection):
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        connection.request("POST", PATH, body, {**kind, **(headers or {})})
        response = connection.getresponse()
        text = response.read().decode()
        is_json = response.headers["content-type"] == "application/json"
        return response.status, response.headers, json.loads(text) if is_json else text


def refusal(server, body, headers=None):
    """Status, code and message of a request that is refused."""
    status, _, answer = post(server, body, headers)
    assert answer["error"]["message"].count("\n") == 0, answer
    return status, answer["error"]["code"], answer["error"]["message"]


@contextlib.contextmanager
def sending(server, size, body, headers=""):
    """A connection with a request that states `size` bytes and has sent the first ones."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as s:
        kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {size}\r\n"
        s.sendall(f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n{kind}{headers}\r\n".encode() + body)
        yield s


def received(s):
    """An answer with a whole line of JSON."""
    answer = ""
    while not answer.endswith("}}"):
        data = s.recv(4000).decode()
        assert data, answer
        answer += data
    return answer


def flac(seconds, samples=None):
    """The bytes of a long FLAC file; silence, if no samples are given."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 16000, 1, "PCM_16", format="FLAC") as f:
        for _ in range(0, seconds, 60):
            f.write(np.zeros(60 * 16000, np.int16) if samples is None else samples)
    return file.getvalue()


def wait_for(condition, seconds=20.0):
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


LONG_S = 480
LONG_FLAC = flac(LONG_S, speech(60))
LONG = form(LONG_FLAC, "long.flac")
SILENCE = form(flac(7000), "a.flac")
"""What takes long to decode."""


@contextlib.contextmanager
def long_upload(server, body=LONG):
    """A request in the background that takes some seconds: its answers come in the list."""
    answers = []

    def send():
        with contextlib.suppress(OSError, http.client.HTTPException):
            answers.append(post(server, body))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield answers
    finally:
        thread.join()


def header(**sizes):
    """A WAV file whose header states other sizes."""
    data = bytearray(wav(2))
    data[4:8] = sizes["riff"].to_bytes(4, "little")
    data[40:44] = sizes["data"].to_bytes(4, "little")
    return bytes(data)


@pytest.fixture(scope="module")
def strict(exp):
    """A server with small limits, for tests that leave it as it was."""
    with running_server(exp, "--max-upload-mb", 2, "--max-upload", 300, "--idle", 0.5) as server:
        yield server


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (b"", "a.wav", "the recording.wav is empty (0 bytes)"),
        (b"hello " * 100, "a.wav", "is not in a known audio format"),
        (b"hello " * 100, "a.mp3", "the recording.mp3: Invalid data"),
        (b"hello " * 100, "a.txt", "the recording is not in a known audio format"),
        (wav(2)[:20000], "a.wav", "has 20000 bytes, its header states 64044"),
        (wav(2)[:30], "a.wav", "the recording.wav"),
        (header(riff=1 << 30, data=1 << 30), "a.wav", "its header states 1073741832"),
        (flac(60, speech(60))[:99999], "a.flac", "lost sync"),
        (b"\0" * 4000, "a.pcm", "has no header: its sample rate and encoding are unknown"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/hostname\n", "a.mp3", "is a playlist of other files"),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", "a.wav", "is a playlist of other files"),
        (wav(1.5 / 192_000, rate=192_000), "a.wav", "shorter than one window"),
        (b"\x7fELF" + os.urandom(5000), "../../etc/passwd", "the recording is not in a known audio format"),
    ],
)
def test_damaged_recordings_are_refused_in_words(server, data, name, message):
    status, code, found = refusal(server, form(data, name))
    assert (status, code) == (400, "bad-audio") and message in found
    assert "passwd" not in found and "Traceback" not in found


@pytest.mark.parametrize("size", [0xFFFFFFF0, 0x7FFFFFFF])
def test_a_header_of_a_stream_may_state_any_size(server, exp, size):
    data = header(riff=size, data=size)
    assert post(server, form(data))[2]["text"] == Recognizer(str(exp)).transcribe(data).text != ""


def test_names_of_files_are_only_hints(server, exp, tmp_path):
    expected = Recognizer(str(exp)).transcribe(wav(2)).text
    for name in ("../../etc/passwd", "/dev/null", "a.wav; rm -rf .mp3", "\\\\host\\a.flac", "", "a" * 3000, "ü.ogg"):
        status, _, answer = post(server, form(wav(2), name))
        assert (status, answer["text"]) == (200, expected), name


@pytest.mark.parametrize(
    ("body", "kind", "status", "message"),
    [
        (form(wav(1)).replace(b"--x7", b"--y7"), None, 400, "the form cannot be read"),
        (form(wav(1))[:-8], None, 400, "the form has no end"),
        (b"", None, 400, "the form has no end"),
        (part("model", b"whisper-1") + b"--x7--\r\n", None, 400, "file: the recording is missing"),
        (part("file", wav(1), "a.wav") + form(wav(1)), None, 400, "the form has several files"),
        (part("model", b"whisper-1") + form(wav(1)), None, 400, "model: given twice"),
        (part("audio", wav(1), "a.wav") + form(wav(1)), None, 400, "a file called 'audio', expected one called 'file'"),
        (part("language", b"\xff") + form(wav(1)), None, 400, "not in UTF-8"),
        (part("prompt", b"a" * 300_000) + form(wav(1)), None, 400, "have more than 262144 bytes"),
        (b"".join(part(f"f{i}", b"") for i in range(99)) + form(wav(1)), None, 400, "more than 64 fields"),
        (b"--x7\r\nContent-Disposition: form-data\r\n\r\n\r\n--x7--\r\n", None, 400, "no name"),
        (b"--x7\r\nX: " + b"y" * 9000 + b"\r\n\r\n\r\n--x7--\r\n", None, 400, "headers of a field|the form cannot be"),
        (b"{}", "application/json", 415, "must be multipart/form-data, not application/json"),
        (b"{}", "multipart/form-data", 400, "has no boundary"),
        (form(wav(1)), f"multipart/form-data; boundary={'z' * 900}", 400, "the form cannot be read"),
    ],
)
def test_forms_that_are_wrong(server, body, kind, status, message):
    found = refusal(server, body, {"Content-Type": kind} if kind else None)
    assert found[0] == status and any(text in found[2] for text in message.split("|")), found


def test_too_large_by_its_stated_size_is_refused_before_it_is_sent(server):
    with sending(server, 5_000_000_000, b"", "Expect: 100-continue\r\n") as s:
        answer = received(s)
        assert answer.startswith("HTTP/1.1 413") and "100 MB, the limit" in answer


def test_a_body_without_an_end_is_cut_at_the_limit(strict):
    before = strict.memory_mb()

    def endless():
        yield form(b"")[:-10]
        for _ in range(200):
            yield bytes(1 << 20)

    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        assert post(strict, endless())[0] == 413
    assert strict.memory_mb() < before + 50
    assert strict.metric('ds2_uploads_total{outcome="too-large"}') == 1
    # the official client gets the reason, too
    with client_of(strict) as client, pytest.raises(openai.APIStatusError, match="more than 2 MB") as e:
        client.audio.transcriptions.create(file=("a.wav", bytes(20_000_000)), model=MODEL)
    assert e.value.status_code == 413


def test_bodies_have_a_limit_together(strict):
    with contextlib.ExitStack() as stack:
        body = form(bytes(1_900_000))[:-100]
        held = [stack.enter_context(sending(strict, len(body) + 100, body)) for _ in range(12)]
        answers = [received(s) for s in held]
    # 4 x (2 MB and the other fields) are held: those that come later are refused, the others have stopped to send
    codes = [json.loads(answer.partition("\r\n\r\n")[2])["error"]["code"] for answer in answers]
    assert codes.count("idle") >= 4 and codes.count("overloaded") >= 1, codes
    assert post(strict, form(wav(1)))[0] == 200


@pytest.mark.slow
def test_100_mb(server):
    before = server.memory_mb()
    assert refusal(server, form(os.urandom(99_000_000), "a.mp3"))[:2] == (400, "bad-audio")
    assert refusal(server, form(bytes(101_000_000)))[:2] == (413, "too-large")
    assert server.memory_mb() < before + 60


def test_slow_bodies_are_ended(strict):
    with sending(strict, 5000, b"--x7") as s:
        answer = received(s)
    assert answer.startswith("HTTP/1.1 408") and "nothing was received for 0.5 s" in answer


def test_bombs_are_too_long(strict):
    hour = flac(3600)
    start = time.monotonic()
    for data in (hour, wav(301, rate=3000)):
        found = refusal(strict, form(data, "a.flac"))
        assert found[:2] == (413, "too-long") and "lasts longer than 300 s" in found[2]
    assert time.monotonic() - start < 10 and len(hour) < 500_000


def test_many_wait_and_others_are_refused(exp):
    with running_server(exp, "--max-waiting", 1) as server, contextlib.ExitStack() as stack:
        first = stack.enter_context(long_upload(server))
        wait_for(lambda: decoders(server))
        second = stack.enter_context(long_upload(server, form(wav(2))))
        wait_for(lambda: server.metric("ds2_uploads_waiting") == 1)
        status, headers, answer = post(server, form(wav(2)))
        assert (status, headers["retry-after"], answer["error"]["code"]) == (503, "5", "overloaded")
        with client_of(server) as client, pytest.raises(openai.InternalServerError, match="1 recordings wait already"):
            client.audio.transcriptions.create(file=("a.wav", wav(2)), model=MODEL)
        stack.close()
        assert first[0][0] == second[0][0] == 200, (first, second)
        assert first[0][2]["usage"]["seconds"] == LONG_S
        assert server.metric('ds2_uploads_total{outcome="done"}') == 2
        assert server.metric('ds2_audio_seconds_total{kind="upload"}') == LONG_S + 2


def children_of(number):
    """Process ids."""
    return [child for file in Path(f"/proc/{number}/task").glob("*/children") for child in file.read_text().split()]


def decoders(server):
    """Processes that decode for a server: those of its server of forks."""
    return [decoder for child in children_of(server.process.pid) for decoder in children_of(child)]


@LINUX
def test_the_server_of_forks_may_be_killed(exp):
    with running_server(exp) as server, contextlib.ExitStack() as stack:
        running = stack.enter_context(long_upload(server, SILENCE))
        wait_for(lambda: decoders(server))
        (forks,) = (child for child in children_of(server.process.pid) if children_of(child))
        server.is_damaged = True
        os.kill(int(forks), signal.SIGKILL)
        wait_for(lambda: running)
        assert running[0][0] in (413, 500)
        assert post(server, form(wav(1)))[0] == 200 and forks not in children_of(server.process.pid)
        # its end is theirs
        before = children_of(server.process.pid)
        server.process.kill()
        wait_for(lambda: not any(Path(f"/proc/{child}").exists() for child in before))


@LINUX
def test_a_client_that_leaves_ends_its_work(exp):
    with running_server(exp) as server:
        for body, is_there in ((SILENCE, lambda: decoders(server)), (LONG, lambda: not decoders(server))):
            with sending(server, len(body), body):
                wait_for(lambda: decoders(server))
                wait_for(is_there)
            wait_for(lambda: not decoders(server))
            start = time.monotonic()
            assert post(server, form(wav(1)))[0] == 200
            assert time.monotonic() - start < 5
        with client_of(server) as client:
            events = client.audio.transcriptions.create(file=("a.flac", LONG_FLAC), model=MODEL, stream=True)
            assert next(events).type == "transcript.text.delta"
            events.close()
        wait_for(lambda: server.metric('ds2_uploads_total{outcome="gone"}') == 3)


@pytest.mark.slow
def test_a_deadline(exp):
    with running_server(exp, "--upload-timeout", 1) as server:
        data = flac(2400, speech(60))
        status, headers, answer = post(server, form(data, "a.flac"))
        assert (status, headers["x-should-retry"]) == (503, "false")
        assert "not transcribed within 1 s" in answer["error"]["message"]
        # the same while events are sent
        with client_of(server) as client, pytest.raises(openai.APIError, match="not transcribed within 1 s"):
            list(client.audio.transcriptions.create(file=("a.flac", data), model=MODEL, stream=True))
        assert post(server, form(wav(1)))[0] == 200


def test_sigterm_lets_uploads_end(exp):
    with running_server(exp) as server, contextlib.ExitStack() as stack:
        running = stack.enter_context(long_upload(server))
        wait_for(lambda: decoders(server))
        waiting = stack.enter_context(long_upload(server, form(wav(2))))
        wait_for(lambda: server.metric("ds2_uploads_waiting") == 1)
        assert server.stop() == 0
        stack.close()
        assert [running[0][0], waiting[0][0]] == [200, 200] and "error" not in server.log


def test_sigterm_cuts_what_takes_too_long(exp):
    with running_server(exp, "--drain", 0.1) as server, contextlib.ExitStack() as stack:
        running = stack.enter_context(long_upload(server))
        wait_for(lambda: decoders(server))
        start = time.monotonic()
        assert server.stop() == 0 and time.monotonic() - start < 8
        stack.close()
        assert running[0][0] == 503 and running[0][2]["error"]["code"] == "stopping"


@LINUX
def test_nothing_is_left_behind(exp, tmp_path):
    with running_server(exp, env={"TMPDIR": str(tmp_path)}) as server:
        opened = len([*Path(f"/proc/{server.process.pid}/fd").iterdir()])
        for body in (form(wav(3)), form(b"x"), form(wav(3), stream="true"), form(wav(3), model="x")):
            post(server, body)
        # the connection of this request and of the last one are open
        assert len([*Path(f"/proc/{server.process.pid}/fd").iterdir()]) <= opened + 3
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
