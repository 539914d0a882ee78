"""The page in a real browser, headless Chromium, whose microphone plays a recording."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import urllib.error
import urllib.request

import numpy as np
import pytest
import soundfile
import srt
from websockets.sync.client import connect

from ds2cli.captions.cues import Limits, make_cues
from ds2cli.captions.srt import format_srt
from ds2cli.serve import page as page_routes
from tests.serve.breakable_proxy import BreakableProxy
from tests.serve.browser_page import DROP, WORDS, download, listen, opened, recognize, stop, texts_of, until
from tests.serve.conftest import running_server
from tests.serve.page_checks import find_faults

PHONE = {"width": 360, "height": 640}
SHOWN = "#microphone-message:not([hidden])"


@pytest.fixture(scope="module")
def recording(shared_data, tmp_path_factory):
    """Two sentences with a pause (16 kHz), as a file."""
    folder = shared_data / "asterisk" / "en_US_f_Allison"
    names = [path for path in sorted(folder.glob("*.flac")) if 1.0 < soundfile.info(path).duration < 1.7][:2]
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


def play_by_keyboard(page):
    """Go to the second word and play from there."""
    # one stop of the Tab key is the text, whatever its length
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.word')"):
            break
        # the controls of a recording are the browser's own
        if not page.evaluate("document.activeElement.matches('audio, body')"):
            assert page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    spoken = page.wait_for_selector(".word[aria-current=true]")
    assert spoken.get_attribute("data-index") == "1"
    until(page, "!document.querySelector('.word[data-index=\"1\"]').ariaCurrent")
    assert page.evaluate("document.querySelector('audio').currentTime") > 0


def test_microphone(browser, server, tmp_path):
    with opened(browser, server.http) as page:
        listen(page, 0)
        partial = page.wait_for_selector(".partial:not([hidden])").inner_text()
        assert partial and page.inner_text("#listen") == "Stop"
        until(page, "Number(document.getElementById('level').ariaValueNow) > -40")
        page.wait_for_selector(".words p")
        assert page.inner_text("#microphone-status") == "Listening."
        assert not find_faults(page)
        until(page, "document.getElementById('microphone-clock').textContent >= '0:05'")
        assert page.locator("#device option").count() > 1
        stop(page)
        play_by_keyboard(page)
        samples, rate = soundfile.read(download(page, "Save recording", tmp_path), dtype="int16")
        expected = recognize(server, samples, rate)
        assert page.evaluate(WORDS) == [[word["word"] for word in words] for words in expected]
        assert len(expected) >= 2 and rate >= 44100
        # the screen reader gets the finals, and nothing else
        assert page.eval_on_selector_all("#announcer p", "all => all.map(p => p.textContent)") == [
            " ".join(word["word"] for word in words) for words in expected
        ]
        words = [word for utterance in expected for word in utterance]
        text = download(page, "Save SRT", tmp_path).read_text("utf-8")
        assert text == format_srt(make_cues(words, Limits(), duration=len(samples) / rate))
        assert " ".join(" ".join(cue.content.split()) for cue in srt.parse(text)) == " ".join(w["word"] for w in words)
        lines = download(page, "Save TXT", tmp_path).read_text("utf-8").splitlines()
        assert lines == [" ".join(word["word"] for word in words) for words in expected]
        assert not find_faults(page)


def test_connection_that_breaks_loses_nothing(browser, server, tmp_path):
    proxy = BreakableProxy(server.port)
    with (
        contextlib.closing(proxy),
        opened(browser, f"http://127.0.0.1:{proxy.port}", expected=["WebSocket connection"], viewport=PHONE) as page,
    ):
        listen(page, 1)
        proxy.cut()
        page.get_by_text("The connection to the server was lost.").wait_for()
        page.get_by_text("Listening.", exact=True).wait_for()
        proxy.flows.clear()
        page.get_by_text(re.compile(r"The server is \d+ s behind")).wait_for()
        assert not find_faults(page)
        proxy.flows.set()
        page.get_by_text("Listening.", exact=True).wait_for()
        stop(page)
        samples, rate = soundfile.read(download(page, "Save recording", tmp_path), dtype="int16")
        expected = recognize(server, samples, rate)
        assert page.evaluate(WORDS) == [[word["word"] for word in words] for words in expected]


def test_recordings_are_sent_one_after_another(browser, server, recording, tmp_path):
    notes, nothing = tmp_path / "notes.wav", tmp_path / "nothing.wav"
    notes.write_text("this is no recording\n" * 100)
    nothing.write_bytes(b"")
    with opened(browser, server.http, expected=["400"], permissions=["clipboard-read", "clipboard-write"]) as page:
        with page.expect_response("**/v1/audio/transcriptions") as answer:
            page.set_input_files("#files", [recording, notes, nothing])
        answer = answer.value.json()
        page.get_by_text("This file is empty.").wait_for()
        (name, message), (_, refused), (_, empty) = texts_of(page)
        assert (name, message, empty) == (recording.name, "", "This file is empty.")
        assert "notes" in texts_of(page)[1][0] and refused.endswith(".")
        words = [word["word"] for word in answer["words"]]
        assert [word for paragraph in page.evaluate(WORDS) for word in paragraph] == words and len(words) > 3
        assert page.locator(".words p").count() == len(answer["segments"])
        assert re.fullmatch(r"0:\d\d, .*\d+ % sure", page.get_attribute(".words .word >> nth=0", "title"))
        unsure = [word for word in answer["words"] if word["confidence"] < 0.8]
        assert page.locator(".words .unsure, .words .doubtful").count() == len(unsure)
        assert not find_faults(page)
        page.get_by_label("Mark uncertain words").press("Space")
        assert page.is_hidden("#legend")
        assert not page.evaluate(
            "[...document.querySelectorAll('.word')].some(w => getComputedStyle(w).textDecorationLine != 'none')"
        )
        page.get_by_role("button", name="Copy").click()
        page.get_by_role("button", name="Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()").split() == words
        text = download(page, "Save SRT", tmp_path)
        assert text.name == "two sentences.srt"
        assert text.read_text("utf-8") == format_srt(make_cues(answer["words"], Limits(), duration=answer["duration"]))
        page.locator(".words .word >> nth=1").click()
        page.wait_for_selector(".word[aria-current=true]")
        page.get_by_role("button", name="Remove").first.press("Enter")
        page.get_by_role("button", name="Remove for good?").press("Enter")
        assert page.evaluate("document.activeElement.textContent") == "notes.wav"


def test_dropped_recordings_can_be_cancelled(browser, server):
    proxy = BreakableProxy(server.port)
    with contextlib.closing(proxy), opened(browser, f"http://127.0.0.1:{proxy.port}", permissions=[]) as page:
        proxy.flows.clear()
        page.evaluate(DROP, 30)
        first, second = page.locator("article").all()
        assert second.locator(".status").inner_text() == "Waiting"
        second.get_by_role("button", name="Cancel").click()
        first.get_by_role("button", name="Cancel").click()
        proxy.flows.set()
        first.get_by_text("Cancelled").wait_for()
        assert second.locator(".status").inner_text() == "Cancelled"
        second.get_by_role("button", name="Try again").click()
        second.get_by_role("button", name="Save TXT").wait_for()
        assert first.locator(".status").inner_text() == "Cancelled"


@pytest.fixture(scope="module")
def guarded(exp, tmp_path_factory):
    """A server with a token and one stream."""
    path = tmp_path_factory.mktemp("token") / "tokens"
    path.write_text("correct-horse-battery\n")
    path.chmod(0o600)
    options = ["--max-streams", 1, "--token-file", path, "--max-upload-mb", 0.2]
    with running_server(exp, *options) as server:
        yield server


def test_refusals_are_said_in_words(browser, guarded):
    with opened(browser, guarded.http, expected=["401"]) as page:
        page.get_by_text("This server needs a token.").wait_for()
        page.keyboard.type("wrong-horse-battery")
        page.keyboard.press("Enter")
        page.get_by_text("The server does not accept this token.").wait_for()
        assert not find_faults(page)
        page.click("#listen")
        assert page.wait_for_selector(SHOWN).inner_text() == "The server does not accept this token."
        page.fill("#token", "correct-horse-battery")
        page.keyboard.press("Enter")
        page.wait_for_selector("#access", state="hidden")
        with connect(
            f"{guarded.ws}/stream", additional_headers={"Authorization": "Bearer correct-horse-battery"}, proxy=None
        ) as ws:
            ws.send('{"type": "start"}')
            assert json.loads(ws.recv())["type"] == "ready"
            page.click("#listen")
            until(page, "!document.getElementById('microphone-message').hidden")
            assert page.inner_text(SHOWN) == "This server is full, all 1 streams are in use. Try again in 5 s."
            assert page.inner_text("#listen") == "Start" and page.inner_text("#texts") == ""
            assert not find_faults(page)
        page.wait_for_timeout(200)
        listen(page, 1)
        page.evaluate(DROP, 8)
        page.get_by_text("This file has 0.3 MB; the server accepts 0.2 MB.").first.wait_for()
        # kept in the tab, and only there
        assert page.evaluate("[Object.values(sessionStorage), localStorage.length, document.cookie]") == [
            ["correct-horse-battery"], 0, "",
        ]  # fmt: skip


def test_microphone_that_is_refused_or_missing(browser, server):
    with opened(browser, server.http, permissions=[]) as page:
        page.click("#listen")
        assert "blocks the microphone" in page.wait_for_selector(SHOWN).inner_text()
        assert page.inner_text("#listen") == "Start"
    script = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('none', 'NotFoundError'); }"
    with opened(browser, server.http, script=script) as page:
        page.click("#listen")
        assert "No microphone was found" in page.wait_for_selector(SHOWN).inner_text()
    with opened(browser, server.http, script="delete Navigator.prototype.mediaDevices") as page:
        assert "https://" in page.inner_text("#microphone-status") and page.is_disabled("#listen")
        assert page.is_enabled("#choose") and not find_faults(page)


def test_phone_width_zoomed_text_and_colors(browser, server, recording):
    with opened(browser, server.http, viewport=PHONE) as page:
        assert not find_faults(page)
        page.set_input_files("#files", recording)
        page.get_by_role("button", name="Save TXT").wait_for()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert not find_faults(page)
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        assert not find_faults(page)
        page.evaluate("document.documentElement.dir = 'rtl'")
        assert not find_faults(page)


def fetch(address, **headers):
    """Status, headers and text of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as e:
        with e:
            return e.code, e.headers, e.read()


def test_files_of_the_page(server):
    status, headers, data = fetch(server.http)
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["connect-src"] == f"'self' ws://127.0.0.1:{server.port} wss://127.0.0.1:{server.port}"
    assert not any("unsafe" in value or "*" in value or "http" in value for value in policy.values())
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-cache"
    assert fetch(server.http, **{"If-None-Match": headers["ETag"]})[::2] == (304, b"")
    for path in page_routes.FOLDER.iterdir():
        status, headers, data = fetch(f"{server.http}/page/{path.name}")
        assert (status, data) == (200, path.read_bytes()) and headers["X-Content-Type-Options"] == "nosniff"
    for path in ("../page.py", "%2e%2e/page.py", "..%2fpage.py", "%2e%2e%2fpage.py", "", "x.js", "style.css%00", "a/b"):
        assert fetch(f"{server.http}/page/{path}")[0] == 404, path


def test_page_can_be_switched_off(exp):
    with running_server(exp, "--no-page") as server:
        assert fetch(server.http)[0] == fetch(f"{server.http}/page/index.html")[0] == 404
        assert fetch(f"{server.http}/info")[0] == 200


def test_policy_of_odd_hosts():
    assert "ws:" not in page_routes._policy("a;script-src *") and "ws:" not in page_routes._policy("[::1]:80")


def test_files_of_the_page_are_small_and_from_here():
    total = 0
    for path in page_routes.FOLDER.iterdir():
        text = path.read_text("utf-8")
        total += len(text)
        assert len(text.splitlines()) <= 300 and path.suffix in page_routes.TYPES
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)[a-z]|innerHTML|localStorage|eval\(", text), path.name
    assert total < 100_000
