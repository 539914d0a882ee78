"""The page in a real browser, headless Chromium, whose microphone plays a recording."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
import srt
from websockets.sync.client import connect

from ds2cli.captions.cues import Limits, make_cues
from ds2cli.captions.srt import format_srt
from ds2cli.serve import page as page_routes
from tests.serve.breakable_proxy import BreakableProxy
from tests.serve.conftest import running_server
from tests.serve.page_checks import find_faults

WORDS = "[...document.querySelectorAll('.words p')].map(p => [...p.querySelectorAll('.word')].map(w => w.textContent))"
SHOWN = "#microphone-message:not([hidden])"


@pytest.fixture(scope="module")
def recording(shared_data, tmp_path_factory):
    """Two sentences with a pause (16 kHz), as a file."""
    folder = shared_data / "asterisk" / "en_US_f_Allison"
    names = [path for path in sorted(folder.glob("*.flac")) if 1.5 < soundfile.info(path).duration < 2.5][:2]
    spoken = [soundfile.read(name, dtype="int16")[0] for name in names]
    silence = np.zeros(16000, np.int16)
    path = tmp_path_factory.mktemp("page") / "two sentences.wav"
    soundfile.write(path, np.concatenate([spoken[0], silence, spoken[1], silence]), 16000)
    return path


@pytest.fixture(scope="module")
def browser(recording):
    """One browser for all tests of this file."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install 'ds2cli[test]')")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs Chromium (apt install chromium)")
    options = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={recording}%noloop"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*options, "--no-sandbox"])
        yield browser
        browser.close()


def until(page, expression, seconds=15.0):
    """Wait until an expression is true; the page's policy forbids the eval of Playwright's own function for that."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"not within {seconds} s: {expression}\n{page.inner_text('body')}"
        page.wait_for_timeout(30)


@contextlib.contextmanager
def opened(browser, address, *, expected=(), script=None, **context):
    """The page; it must not ask another server for anything, nor write errors, except with the words `expected`."""
    context.setdefault("permissions", ["microphone"])
    context = browser.new_context(locale="en-GB", **context)
    page, errors, foreign = context.new_page(), [], []
    page.set_default_timeout(15_000)

    def check(request):
        if urlsplit(request.url).netloc != urlsplit(address).netloc and not request.url.startswith("blob:"):
            foreign.append(request.url)

    page.on("request", check)
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    if script:
        page.add_init_script(script)
    page.goto(address)
    until(page, "document.getElementById('server').textContent !== 'Asking the server…'")
    yield page
    context.close()
    assert not foreign
    assert not [text for text in errors if not any(words in text for words in expected)]


def recognize(server, samples, rate):
    """The words of each utterance of a stream."""
    with connect(f"{server.ws}/stream", proxy=None) as ws:
        ws.send(json.dumps({"type": "start", "sample_rate": rate, "partials": False}))
        for begin in range(0, len(samples), rate):
            ws.send(samples[begin : begin + rate].tobytes())
        ws.send('{"type": "finish"}')
        messages = [json.loads(message) for message in ws]
    return [message["words"] for message in messages if message["type"] == "final" and message["text"]]


def download(page, button, folder):
    """The file that a button saves."""
    with page.expect_download() as waiting:
        page.get_by_role("button", name=button).click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def listen(page, seconds):
    """Start the microphone, by the keyboard alone, and wait until it has heard so much."""
    page.focus("#listen")
    page.keyboard.press("Enter")
    until(page, f"document.getElementById('microphone-clock').textContent >= '0:0{seconds}'")


def stop(page):
    page.keyboard.press("Space")
    page.wait_for_selector(".actions button")


def test_microphone(browser, server, tmp_path):
    with opened(browser, server.http) as page:
        listen(page, 0)
        partial = page.wait_for_selector(".partial:not([hidden])").inner_text()
        assert partial and page.inner_text("#listen") == "Stop"
        until(page, "Number(document.getElementById('level').ariaValueNow) > -40")
        page.wait_for_selector(".words p")
        assert page.inner_text("#microphone-status") == "Listening."
        assert not find_faults(page)
        until(page, "document.getElementById('microphone-clock').textContent >= '0:06'")
        stop(page)
        samples, rate = soundfile.read(download(page, "Save recording", tmp_path), dtype="int16")
        expected = recognize(server, samples, rate)
        assert page.evaluate(WORDS) == [[word["word"] for word in words] for words in expected]
        assert len(expected) >= 2 and rate >= 44100
        # the screen reader gets the finals, and nothing else
        assert page.eval_on_selector_all("#announcer p", "all => all.map(p => p.textContent)") == [
            " ".join(word["word"] for word in words) for words in expected
        ]
        words = sum(expected, [])
        text = download(page, "Save SRT", tmp_path).read_text("utf-8")
        assert text == format_srt(make_cues(words, Limits(), duration=len(samples) / rate))
        assert " ".join(" ".join(cue.content.split()) for cue in srt.parse(text)) == " ".join(w["word"] for w in words)
        lines = download(page, "Save TXT", tmp_path).read_text("utf-8").splitlines()
        assert lines == [" ".join(word["word"] for word in words) for words in expected]
        assert not find_faults(page)


def test_words_are_played_by_keyboard(browser, server):
    with opened(browser, server.http) as page:
        listen(page, 3)
        stop(page)
        # one stop of the Tab key is the text, whatever its length
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.matches('.word')"):
                break
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        spoken = page.wait_for_selector(".word[aria-current=true]")
        assert spoken.get_attribute("data-index") == "1"
        until(page, "!document.querySelector('.word[data-index=\"1\"]').ariaCurrent")
        assert page.evaluate("document.querySelector('audio').currentTime") > 0
