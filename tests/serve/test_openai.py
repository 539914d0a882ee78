"""OpenAI's protocol with its official client as it is, and with curl."""

from __future__ import annotations

import asyncio
import io
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request

import openai
import pytest
import soundfile

from ds2cli import Recognizer
from ds2cli.captions.cues import Limits, make_cues
from ds2cli.captions.srt import format_srt
from ds2cli.captions.vtt import format_vtt
from ds2cli.serve.openai_options import Options, parse_options
from ds2cli.serve.refusal import Refusal
from tests.serve.conftest import speech

MODEL = "whisper-1"
FORMATS = ["json", "text", "srt", "verbose_json", "vtt"]


def wav(seconds, seed=0, rate=16000):
    """The bytes of a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, speech(seconds, seed, rate), rate, "PCM_16", format="WAV")
    return file.getvalue()


def client_of(server, kind=openai.OpenAI, **options):
    """A client, which wants a key."""
    return kind(base_url=f"{server.http}/v1", api_key="unused", max_retries=0, **options)


@pytest.fixture
def client(server):
    with client_of(server) as client:
        yield client


@pytest.fixture(scope="module")
def expected(exp):
    """What the recognizer finds in 6 s and in 150 s."""
    recognizer = Recognizer(str(exp))
    return {seconds: recognizer.transcribe(wav(seconds)) for seconds in (6, 150)}


def test_models(client, exp):
    names = [model.id for model in client.models.list()]
    assert names == [exp.name, MODEL]
    assert client.models.retrieve(MODEL).owned_by == "ds2"
    with pytest.raises(openai.NotFoundError, match=f"this server has {exp.name} and {MODEL}, not 'gpt-9'"):
        client.models.retrieve("gpt-9")


def test_every_format_has_the_text_of_the_recognizer(client, expected):
    transcript = expected[6]
    assert transcript.text
    answers = {
        form: client.audio.transcriptions.create(file=("a.wav", wav(6)), model=MODEL, response_format=form)
        for form in FORMATS
    }
    assert answers["json"].text == transcript.text and answers["json"].usage.seconds == 6.0
    assert answers["text"] == f"{transcript.text}\n"
    cues = make_cues(transcript.words, Limits(), (), 6.0)
    assert answers["srt"] == format_srt(cues) and answers["vtt"] == format_vtt(cues)
    verbose = answers["verbose_json"]
    assert (verbose.text, verbose.duration, verbose.task) == (transcript.text, 6.0, "transcribe")
    assert (verbose.language, verbose.words) == ("english", None)
    assert "".join(segment.text for segment in verbose.segments).strip() == transcript.text


@pytest.mark.parametrize("seconds", [6, 150])
def test_segments_and_words(client, expected, seconds):
    verbose = client.audio.transcriptions.create(
        file=("a.wav", wav(seconds)), model=MODEL, response_format="verbose_json",
        timestamp_granularities=["word", "segment"], language="en", temperature=0,
    )  # fmt: skip
    words = [{"word": w.word, "start": w.start, "end": w.end} for w in verbose.words]
    assert words == [{name: w[name] for name in ("word", "start", "end")} for w in expected[seconds].words]
    for number, segment in enumerate(verbose.segments):
        assert (segment.id, segment.temperature, segment.no_speech_prob) == (number, 0, 0)
        assert segment.start < segment.end <= seconds + 0.1 and segment.seek == int(100 * segment.start)
        assert segment.avg_logprob < 0 < segment.compression_ratio and segment.tokens
    assert verbose.segments[0].start == words[0]["start"] and verbose.segments[-1].end == words[-1]["end"]
    only_words = client.audio.transcriptions.create(
        file=("a.wav", wav(6)), model=MODEL, response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert only_words.segments is None and only_words.words


@pytest.mark.parametrize("seconds", [6, 150])
def test_stream_of_events(client, expected, seconds):
    stream = client.audio.transcriptions.create(file=("a.wav", wav(seconds)), model=MODEL, stream=True)
    *deltas, done = list(stream)
    assert {delta.type for delta in deltas} == {"transcript.text.delta"} and done.type == "transcript.text.done"
    assert "".join(delta.delta for delta in deltas) == done.text == expected[seconds].text
    assert len(deltas) == max(len(expected[seconds].segments), 1)


def test_async_client(server, expected):
    async def run():
        async with client_of(server, openai.AsyncOpenAI) as client:
            created = client.audio.transcriptions.create
            plain, stream = await asyncio.gather(
                created(file=("a.wav", wav(6)), model=MODEL),
                created(file=("a.wav", wav(6)), model=MODEL, stream=True),
            )
            return plain.text, [event async for event in stream][-1].text

    assert asyncio.run(run()) == (expected[6].text, expected[6].text)


def test_prompt_boosts_its_phrases(client, exp, tmp_path):
    (tmp_path / "hotwords").write_text("vixcud\nice cup\n")
    expected = Recognizer(str(exp), hotwords=str(tmp_path / "hotwords")).transcribe(wav(6)).text
    found = client.audio.transcriptions.create(file=("a.wav", wav(6)), model=MODEL, prompt="Vixcud,\n ice  cup,").text
    assert found == expected


@pytest.mark.parametrize(
    ("fields", "kind", "param", "message"),
    [
        ({"model": "gpt-9"}, openai.NotFoundError, "model", "not 'gpt-9'"),
        ({"language": "de"}, openai.BadRequestError, "language", "understands en, not 'de'"),
        ({"temperature": 0.4}, openai.BadRequestError, "temperature", "expected 0"),
        ({"response_format": "xml"}, openai.BadRequestError, "response_format", "expected json, text, srt"),
        ({"include": ["logprobs"]}, openai.BadRequestError, "include[]", "unknown field"),
        ({"extra_body": {"beam": 3}}, openai.BadRequestError, "beam", "unknown field"),
        ({"stream": True, "response_format": "srt"}, openai.BadRequestError, "stream", "json or text"),
        ({"timestamp_granularities": ["word"]}, openai.BadRequestError, "timestamp_granularities[]", "verbose_json"),
        ({"prompt": "名前"}, openai.BadRequestError, "prompt", "cannot be written by this network"),
        ({"file": ("a.wav", b"text")}, openai.BadRequestError, "file", "not in a known audio format"),
        ({"file": ("a.wav", b"")}, openai.BadRequestError, "file", "is empty"),
        ({"file": ("a.wav", b""), "stream": True}, openai.BadRequestError, "file", "is empty"),
        ({"file": ("a.wav", wav(0.001))}, openai.BadRequestError, "file", "shorter"),
    ],
)
def test_errors_are_those_of_the_client(client, fields, kind, param, message):
    with pytest.raises(kind, match=re.escape(message)) as e:
        client.audio.transcriptions.create(**{"file": ("a.wav", wav(1)), "model": MODEL, **fields})
    assert e.value.param == param and e.value.type == "invalid_request_error" and "\n" not in e.value.body["message"]


@pytest.mark.parametrize(
    ("own", "given", "is_right"),
    [
        ("en", "en", True), ("en", "EN", True), ("en", "en-US", True), ("en", "en_GB", True), ("en", "English", True),
        ("en", "", True), ("en-US", "en", True), ("zh", "chinese", True), ("xx", "xx", True),
        ("und", "", True),
        ("en", "de", False), ("en", "german", False), ("en", "e", False), ("zh", "en", False), ("en", "-", False),
    ],
)  # fmt: skip
def test_languages_have_codes_regions_and_names(own, given, is_right):
    fields = {"model": [MODEL], "language": [given]}
    if is_right:
        assert parse_options(fields, (MODEL,), own).form == "json"
    else:
        with pytest.raises(Refusal, match=f"understands {own}, not"):
            parse_options(fields, (MODEL,), own)


def test_a_language_that_is_not_known():
    with pytest.raises(Refusal, match="leave it out"):
        parse_options({"model": [MODEL], "language": ["zh"]}, (MODEL,), "und")


def test_options():
    fields = {
        "model": [MODEL], "stream": ["True"], "response_format": ["text"], "temperature": ["0.0"],
        "prompt": [" Ana  Lee ,\nBo,\n,Bo"],
    }  # fmt: skip
    assert parse_options(fields, (MODEL,), "en") == Options("text", ("segment",), True, ("Ana Lee", "Bo"))
    for name, value in (("stream", "yes"), ("temperature", "nan"), ("temperature", "cold"), ("model", "")):
        with pytest.raises(Refusal) as e:
            parse_options({**fields, name: [value]}, (MODEL,), "en")
        assert e.value.param == name


def test_nothing_is_translated(client):
    with pytest.raises(openai.NotFoundError, match="does not translate"), pytest.warns(DeprecationWarning):
        client.audio.translations.create(file=("a.wav", wav(1)), model=MODEL)


def test_what_is_not_there_is_refused_in_words(server):
    with pytest.raises(urllib.error.HTTPError) as e:
        urllib.request.urlopen(f"{server.http}/v1/chat/completions", timeout=10)
    with e.value:
        assert e.value.code == 404 and "/v1/models" in json.loads(e.value.read())["error"]["message"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl(server, expected, tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(6))
    command = ["curl", "-sS", "-F", f"file=@{tmp_path}/a.wav", "-F", f"model={MODEL}"]
    url = f"{server.http}/v1/audio/transcriptions"
    found = subprocess.run([*command, url], check=True, capture_output=True, timeout=60).stdout
    assert json.loads(found)["text"] == expected[6].text
    events = subprocess.run([*command, "-F", "stream=true", url], check=True, capture_output=True, timeout=60).stdout
    assert json.loads(events.decode().split("\n\n")[-2].removeprefix("data: "))["text"] == expected[6].text


@pytest.mark.filterwarnings("ignore:.*nothing above.*:UserWarning")
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_real_recordings_in_many_formats(client, exp, shared_data, tmp_path):
    recording = next(shared_data.glob("LibriSpeech/test-other/*/*/*.flac"))
    recognizer = Recognizer(str(exp))
    for ending in ("flac", "wav", "mp3", "ogg", "opus", "m4a", "webm", "g722"):
        path = tmp_path / f"a.{ending}"
        command = ["ffmpeg", "-loglevel", "error", "-i", recording, "-t", "3", path]
        subprocess.run(command, check=True, timeout=60)
        with path.open("rb") as file:
            found = client.audio.transcriptions.create(file=file, model=MODEL, response_format="verbose_json")
        expected = recognizer.transcribe(path)
        assert (found.text, found.duration) == (expected.text, expected.duration) and found.text, ending
