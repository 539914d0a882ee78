"""What the server measures and warms up before the first client comes."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ds2cli.config.base import build
from ds2cli.config.serve import ServeConfig
from ds2cli.recognizer.bundle import encode_clip
from ds2cli.serve import capacity
from ds2cli.serve.service import Service
from tests.serve.conftest import running_server, speech


@pytest.fixture
def make_service(exp):
    """A function that opens the network with settings."""
    opened = []

    def make(**settings):
        opened.append(Service(build(ServeConfig, ("test", settings)), str(exp), print))
        return opened[-1]

    yield make
    for service in opened:
        service.close()


@pytest.fixture
def streams(monkeypatch):
    """The sample rate of every stream that is opened, and the texts that are found."""
    rates, texts, make_stream = [], [], Service.make_stream

    def make(service, options):
        emissions, utterances = make_stream(service, options)
        final = utterances._final

        def find(*arguments):
            result = final(*arguments)
            texts.append(result)
            return result

        monkeypatch.setattr(utterances, "_final", find)
        rates.append(options.rate)
        return emissions, utterances

    monkeypatch.setattr(Service, "make_stream", make)
    return rates, texts


def test_the_limit_is_a_share_of_what_is_measured(make_service):
    service, lines = make_service(), []
    capacity.prepare(service, lines.append)
    (line,) = lines
    factor, limit = map(
        int, re.fullmatch(r"this machine recognizes (\d+) s of audio per second: up to (\d+) .*", line).groups()
    )
    assert service.limit == limit >= 1
    assert limit == pytest.approx(capacity.SHARE * factor, abs=1)
    assert service.metrics.capacity._value.get() == limit
    # the measurement counts as no stream of a client
    assert service.metrics.audio.labels("stream")._value.get() == 0
    assert service.dispatcher.streams == 0


def test_everything_runs_once_before_the_first_client(make_service, streams):
    service = make_service(max_streams=7)
    capacity.prepare(service, lambda line: pytest.fail(line))
    rates, texts = streams
    assert service.limit == 7 == service.metrics.capacity._value.get()
    # streams that are resampled, and one of which no samples are sent
    assert sorted(rates) == [16000, 16000, 16000, 48000]
    assert all(result.words for result in texts if result.text) and texts[0].text


def test_the_clip_of_a_bundle_is_what_is_recognized(make_service, monkeypatch):
    service = make_service(max_streams=1)
    assert len(capacity.find_clip(service)) == capacity.CLIP_S * 16000
    recording = speech(6).astype(np.float32) / 32768

    class Files:
        def read(self, name):
            return encode_clip(recording, 16000)

    monkeypatch.setattr(capacity, "is_bundle", lambda _: True)
    monkeypatch.setattr(capacity, "open_files", lambda _: Files())
    np.testing.assert_allclose(capacity.find_clip(service), recording[: int(capacity.CLIP_S * 16000)], atol=1e-4)


def test_a_bidirectional_network_is_measured_too(bidirectional_exp):
    service = Service(build(ServeConfig, ("test", {})), str(bidirectional_exp), print)
    try:
        capacity.prepare(service, lambda _: None)
        assert service.limit >= 1
    finally:
        service.close()


def test_the_sound_is_always_the_same():
    sound = capacity.make_sound(8000)
    np.testing.assert_array_equal(sound, capacity.make_sound(8000))
    assert len(sound) == capacity.CLIP_S * 8000
    assert np.sqrt(np.mean(sound**2)) > 0.01 and abs(sound).max() < 1


def test_a_server_prints_its_limit(exp):
    with running_server(exp, "--max-streams", "0") as server:
        assert server.metric("ds2_streams_limit") == int(re.search(r"up to (\d+) streams", server.log)[1]) >= 1
