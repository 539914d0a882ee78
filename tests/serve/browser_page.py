"""The page of the server in a browser: opened, used, and what it shows."""

from __future__ import annotations

import contextlib
import json
import time
from urllib.parse import urlsplit

from websockets.sync.client import connect

WORDS = "[...document.querySelectorAll('.words p')].map(p => [...p.querySelectorAll('.word')].map(w => w.textContent))"

DROP = """(seconds) => {
  const transfer = new DataTransfer();
  const bytes = new Uint8Array(44 + 32000 * seconds);
  const header = [0x52494646, 0, 0x57415645, 0x666d7420, 0x10000000, 0x01000100, 0x803e0000, 0x007d0000, 0x02001000];
  header.forEach((value, i) => new DataView(bytes.buffer).setUint32(4 * i, value));
  bytes.set([0x64, 0x61, 0x74, 0x61], 36);
  new DataView(bytes.buffer).setUint32(40, 32000 * seconds, true);
  new DataView(bytes.buffer).setUint32(4, 36 + 32000 * seconds, true);
  for (const name of ["a.wav", "b.wav"]) transfer.items.add(new File([bytes], name));
  for (const type of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }
}"""
"""Drop two silent recordings."""


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
    until(page, "document.getElementById('server').textContent !== 'Connecting to the server…'")
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


def texts_of(page):
    """Heading and message of each text of the page."""
    return page.eval_on_selector_all(
        "#texts article",
        "all => all.map(a => [a.querySelector('h3').textContent, a.querySelector('.message').textContent])",
    )
