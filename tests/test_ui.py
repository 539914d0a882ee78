import io
from types import SimpleNamespace

import pytest

from ds2cli import ui


@pytest.mark.parametrize(
    "done, total, seconds, text",
    [
        (10, 40, 5.0, "10/40 utt, 2.0 utt/s, 15 s left"),
        (10, None, 5.0, "10 utt, 2.0 utt/s"),
        (0, 40, 0.0, "0/40 utt, 0.0 utt/s"),
    ],
)
def test_progress_text(done, total, seconds, text):
    assert ui.progress_text(done, total, seconds, "utt") == text


def test_progress_passes_items_through():
    assert list(ui.progress(iter("abc"), "x")) == ["a", "b", "c"]


def test_log_and_warn_write_to_standard_error(capsys):
    ui.log("hello é")
    ui.warn("mind")
    ui.echo("result")
    out, err = capsys.readouterr()
    assert (out, err) == ("result\n", "hello é\nwarning: mind\n")


def test_a_line_with_invalid_bytes_can_be_logged(capsys):
    ui.log("caf\udce9")
    assert "caf?" in capsys.readouterr().err


def test_a_message_stays_one_line(capsys):
    ui.log("a\nb\r\x1b[31m:\tmissing\x85\u2028é")
    assert capsys.readouterr().err == "a\\nb\\r\\x1b[31m:\tmissing\\x85\\u2028é\n"


def test_a_table_is_aligned(capsys):
    ui.table("t", ["a", "bb"], [["xxx", 1], ["y", 22]], to_stdout=True)
    assert capsys.readouterr().out == "t\na    bb\nxxx  1\ny    22\n"


def test_compiling_does_not_count_in_the_rate(monkeypatch, capsys):
    from ds2cli.kernels import compilation

    now = [0.0]
    monkeypatch.setattr(compilation.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(compilation, "_state", (0, 0.0, 0.0))
    monkeypatch.setattr(compilation, "on_first", None)

    def items():
        compilation.begin()
        now[0] += 50
        compilation.end()
        for i in range(40):
            now[0] += 1
            yield i

    assert list(ui.progress(items(), "decode", 400)) == list(range(40))
    assert capsys.readouterr().err == "decode: 30/400 utt, 1.0 utt/s, 370 s left\n"


def test_a_table_is_for_people_unless_it_is_a_result(capsys):
    ui.table("", ["a", "bb"], [])
    assert capsys.readouterr() == ("", "a  bb\n")


def test_without_a_terminal_progress_is_a_line_every_30_seconds(capsys):
    times = iter([0.0, 10.0, 30.0, 59.0, 60.0])
    assert list(ui.progress("abcd", "x", 8, "file", lambda: next(times))) == [*"abcd"]
    assert capsys.readouterr().err.splitlines() == [
        "x: 2/8 file, 0.1 file/s, 90 s left",
        "x: 4/8 file, 0.1 file/s, 60 s left",
    ]


def test_on_a_terminal_each_item_advances_the_bar(monkeypatch):
    calls = []

    class Bar:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            calls.append("end")

        def add_task(self, label, total):
            calls.append((label, total))
            return "task"

        def advance(self, task):
            calls.append(task)

    monkeypatch.setattr(ui, "bar", lambda unit, _clock: calls.append(unit) or Bar())
    monkeypatch.setattr(ui, "sys", SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: True)))
    assert list(ui.progress("ab", "x", 5, "file")) == ["a", "b"]
    assert calls == ["file", ("x", 5), "task", "task", "end"]


@pytest.mark.parametrize("encoding, shown", [("latin-1", "??? gr\xfc\xdfe ..."), ("ascii", "??? gr??e ...")])
def test_letters_that_the_encoding_lacks_are_replaced_for_people_only(monkeypatch, encoding, shown):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(ui.sys, "stdout", out)
    ui.replace_missing_letters()
    ui.echo("今天好 grüße …")
    ui.table("", ["列"], [["ł"]], to_stdout=True)
    ui.echo_data("今 caf\udce9")
    out.flush()
    assert out.buffer.getvalue() == f"{shown}\n?\n?\n".encode(encoding) + "今 caf".encode() + b"\xe9\n"


def test_progress_within_a_recording(monkeypatch, capsys):
    times = iter([0.0, 0.0, 10.0, 10.0, 31.0, 31.0, 40.0, 40.0, 70.0, 70.0])
    with ui.AudioProgress("transcribe", 2, lambda: next(times)) as progress:
        progress.within("a.wav", 600.0, 3600.0)
        progress.within("a.wav", 1860.0, 3600.0)
        progress.finish()
        progress.within("-", 60.0, None)
    assert capsys.readouterr().err.splitlines() == [
        "transcribe: a.wav: 31:00 of 60:00, 60.0 x real time, 29 s left",
        "transcribe: -: 1:00, 2.0 x real time",
    ]
    assert ui.audio_progress_text(0.0, 10.0, 0.0) == "0:00 of 0:10, 0.0 x real time"


def test_progress_within_an_item_that_takes_long(capsys):
    times = iter([0.0, 0.0, 10.0, 31.0, 40.0, 62.0, 70.0, 80.0])
    progress = ui.ShareProgress("align", clock=lambda: next(times))
    for name, share in [("a", 0.0), ("a", 0.1), ("a", 0.25), ("a", 0.5), ("a", 0.75), ("b", 0.0), ("b", 0.5)]:
        progress.within(name, share)
    # the item b has only begun
    assert capsys.readouterr().err.splitlines() == ["align: a: 25 %, 93 s left", "align: a: 75 %, 21 s left"]
