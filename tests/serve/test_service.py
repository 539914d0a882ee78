"""What a server opens once for all of its clients."""

from __future__ import annotations

import asyncio

import pytest

from ds2cli.config.base import build
from ds2cli.config.serve import ServeConfig
from ds2cli.errors import UsageError
from ds2cli.serve import service as opened
from ds2cli.serve.refusal import Refusal
from ds2cli.serve.service import MAX_CHARACTERS, MAX_PHRASE, Service, StreamOptions
from ds2cli.text.vocab import BLANK, Vocab
from tests.serve import conftest
from tests.serve.conftest import running_server, speech
from tests.serve.test_stream import finals, of_type, recognize, rest, stream


@pytest.fixture
def make_service(exp):
    """A function that opens the network with settings."""
    services = []

    def make(**settings):
        services.append(Service(build(ServeConfig, ("test", settings)), str(exp), print))
        return services[-1]

    yield make
    for service in services:
        service.close()


def test_the_weight_of_the_hotwords_of_clients(exp, tmp_path):
    samples, hotwords = speech(4), ["cucu", "dicic"]
    (tmp_path / "hotwords").write_text("\n".join(hotwords))
    with running_server(exp, "--hotword-weight", "3") as server:
        (found,) = of_type("final", recognize(server, samples, hotwords=hotwords, nbest=5))
    (expected,) = finals(exp, samples, hotwords=str(tmp_path / "hotwords"), nbest=5, hotword_weight=3.0)
    (other,) = finals(exp, samples, hotwords=str(tmp_path / "hotwords"), nbest=5)
    assert found["nbest"] == expected.nbest != other.nbest


def test_a_greedy_server_has_no_hotwords_and_one_hypothesis(exp, make_service):
    with pytest.raises(UsageError, match="hotword-weight"):
        make_service(greedy=True, hotword_weight=3.0)
    with running_server(exp, "--greedy") as server:
        for start, name in (('"nbest": 2', "nbest"), ('"hotwords": ["a"]', "hotwords")):
            with stream(server) as ws:
                ws.send(f'{{"type": "start", {start}}}')
                (error,), code = rest(ws)
            assert error["code"] == "no-beam-search" and error["message"].startswith(name) and code == 1008
        (found,) = of_type("final", recognize(server, speech(3), nbest=1))
    (expected,) = finals(exp, speech(3), greedy=True)
    assert found["text"] == expected.text


def test_others_are_served_while_phrases_are_compiled(make_service):
    service = make_service(max_streams=1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    phrases = tuple((letters[i % 26] + letters[i // 26] * MAX_PHRASE)[:MAX_PHRASE] for i in range(200))
    assert sum(map(len, phrases)) == MAX_CHARACTERS

    async def measure():
        opening = asyncio.ensure_future(service.open_session(StreamOptions(16000, hotwords=phrases)))
        ticks = 0
        while not opening.done():
            await asyncio.sleep(0)
            ticks += 1
        (await opening).close()
        return ticks

    ticks = asyncio.run(measure())
    assert ticks > 3


def test_a_server_that_is_stopped_while_phrases_are_compiled(make_service):
    service = make_service(max_streams=1)

    async def stop():
        opening = asyncio.ensure_future(service.open_session(StreamOptions(16000, hotwords=("a" * MAX_PHRASE,))))
        await asyncio.sleep(0)
        service.stop()
        await opening

    with pytest.raises(Refusal, match="stopped"):
        asyncio.run(stop())
    assert not service.sessions


def test_a_bundle_that_is_replaced_does_not_matter(make_service, monkeypatch):
    service = make_service(max_streams=1)
    monkeypatch.setattr(opened, "open_files", None)
    assert (service.language, service.names) == ("en", ("nonsense", "whisper-1"))


@pytest.mark.parametrize(
    ("letters", "language"), [("abc'", "en"), ("abcıi", "tr"), ("你好", "und"), ("ابت", "und"), ("abcäö", "und")]
)
def test_a_language_is_guessed_only_where_symbols_tell(tmp_path, monkeypatch, letters, language):
    monkeypatch.setattr(conftest, "VOCAB", Vocab((BLANK, " ", *letters)))
    conftest.write_network(tmp_path / "net")
    service = Service(ServeConfig(), str(tmp_path / "net"), print)
    try:
        assert service.language == language
    finally:
        service.close()


def test_the_log_warns_once_of_a_rate_below_that_of_the_network(exp):
    with running_server(exp) as server:
        for rate in (8000, 8000, 16000, 48000):
            recognize(server, speech(1), sample_rate=rate)
        server.stop()
        assert server.log.count("expect many more errors") == server.log.count("this stream is 8 kHz") == 1
