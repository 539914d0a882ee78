"""Sessions: back-pressure, the order of results, every way in which a stream ends."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from ds2cli import Recognizer
from ds2cli.serve.dispatch import Dispatcher
from ds2cli.serve.refusal import Refusal
from ds2cli.serve.session import WAITING_RESULTS, WAITING_S, Session
from tests.serve.conftest import speech, talk

RATE = 16000


@pytest.fixture(scope="module")
def recognizer(exp):
    return Recognizer(str(exp))


@pytest.fixture(scope="module")
def dispatcher():
    found = Dispatcher(8, 2)
    yield found
    found.close()


def floats(samples):
    return samples.astype(np.float32) / np.float32(32768)


def open_session(dispatcher, recognizer, max_s=3600.0, on_close=lambda _: None):
    stream = recognizer.stream(RATE)
    return Session(dispatcher, stream.emissions, stream.utterances, RATE, max_s, on_close)


async def finals(session):
    return [result async for delivery in session.deliveries() for result in delivery.results if result.final]


def alone(recognizer, samples):
    stream = recognizer.stream(RATE)
    return [result for result in [*stream.advance(samples), *stream.finish()] if result.final]


def test_results_in_order_while_samples_come(recognizer, dispatcher):
    samples = talk()

    async def run():
        closed = []
        session = open_session(dispatcher, recognizer, on_close=closed.append)
        reading = asyncio.create_task(finals(session))
        for begin in range(0, len(samples), 4800):
            await session.advance(floats(samples[begin : begin + 4800]))
        session.finish()
        session.finish()
        assert await reading == alone(recognizer, samples)
        assert session.received_s == session.heard_s == len(samples) / RATE
        assert [delivery async for delivery in session.deliveries()] == []
        session.close()
        session.close()
        assert closed == [session]

    asyncio.run(run())


def test_a_sender_waits_while_too_much_waits(recognizer, dispatcher, monkeypatch):
    """The audio that waits is bounded by WAITING_S and one message."""

    async def run():
        session = open_session(dispatcher, recognizer)
        reading = asyncio.create_task(finals(session))
        most = 0.0
        for _ in range(100):
            await session.advance(floats(speech(0.5)))
            most = max(most, session.received_s - session.heard_s)
        session.finish()
        await reading
        assert most <= WAITING_S
        session.close()

    asyncio.run(run())


def test_a_sender_waits_while_results_are_not_taken(recognizer, dispatcher):
    async def run():
        session = open_session(dispatcher, recognizer)
        count = 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                while True:
                    # one delivery for each piece
                    await session.advance(floats(speech(0.2)))
                    count += 1
                    while session.heard < session.received:
                        await asyncio.sleep(0.001)
        assert len(session._deliveries) <= WAITING_RESULTS + 2 and count <= WAITING_RESULTS + 2
        # it continues as soon as they are taken
        sending = asyncio.create_task(session.advance(floats(speech(0.2))))
        taken = 0
        async for _ in session.deliveries():
            taken += 1
            if taken == 10:
                session.finish()
        await asyncio.wait_for(sending, 10)
        assert taken >= WAITING_RESULTS
        session.close()

    asyncio.run(run())


def test_a_sender_that_waits_is_woken_by_the_end(recognizer, dispatcher):
    async def run():
        for end in ("close", "finish"):
            session = open_session(dispatcher, recognizer)
            sending = asyncio.create_task(session.advance(floats(speech(30))))
            await asyncio.sleep(0)
            assert not sending.done()
            getattr(session, end)()
            await asyncio.wait_for(sending, 10)
            session.close()

    asyncio.run(run())


def test_too_long(recognizer, dispatcher):
    async def run():
        samples = speech(2)
        session = open_session(dispatcher, recognizer, max_s=2.5)
        await session.advance(floats(samples))
        with pytest.raises(Refusal) as refused:
            await session.advance(floats(samples))
        assert (refused.value.code, refused.value.close, refused.value.status) == ("too-long", 1009, 413)
        # what was taken before is not lost
        session.finish()
        assert await finals(session) == alone(recognizer, samples)
        # nor is it an error to send more after the end
        await session.advance(floats(samples))
        assert session.received == len(samples)
        session.close()

    asyncio.run(run())


def test_errors_come_after_what_was_heard_before(recognizer, dispatcher):
    async def run():
        bad = np.full(100, np.inf, np.float32)
        session = open_session(dispatcher, recognizer)
        await session.advance(floats(speech(1)))
        while session.heard < RATE:
            await asyncio.sleep(0.001)
        await session.advance(bad)
        with pytest.raises(Refusal) as refused:
            await finals(session)
        assert (refused.value.code, refused.value.close) == ("not-a-number", 1008)
        session.close()

        session = open_session(dispatcher, recognizer)
        session._stream.utterances.advance = lambda *_, **__: 1 / 0
        await session.advance(floats(speech(1)))
        with pytest.raises(Refusal) as refused:
            await finals(session)
        assert (refused.value.code, refused.value.close) == ("internal-error", 1011)
        session.close()

    asyncio.run(run())


def test_a_stream_without_samples_ends(recognizer, dispatcher):
    async def run():
        session = open_session(dispatcher, recognizer)
        session.finish()
        assert await finals(session) == [] and session.received_s == 0.0
        session.close()
        closed = open_session(dispatcher, recognizer)
        closed.close()
        assert [delivery async for delivery in closed.deliveries()] == []
        await closed.advance(floats(speech(1)))

    asyncio.run(run())


def test_a_reader_that_waits_is_woken_by_close(recognizer, dispatcher):
    async def run():
        session = open_session(dispatcher, recognizer)
        reading = asyncio.create_task(finals(session))
        await asyncio.sleep(0.05)
        session.close()
        assert await asyncio.wait_for(reading, 10) == []

    asyncio.run(run())


def test_a_stream_that_outlives_its_event_loop_ends(recognizer, dispatcher, caplog):
    """The server is ended while results are on their way."""

    async def run():
        session = open_session(dispatcher, recognizer)
        asyncio.get_running_loop().call_later(0.05, session.finish)
        await session.advance(floats(speech(1)))
        return session

    session = asyncio.run(run())
    session._stream.advance(floats(speech(1)))
    session._stream.finish()
    deadline = time.monotonic() + 10
    while dispatcher.streams:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert all("cannot be delivered" in record.message for record in caplog.records)
