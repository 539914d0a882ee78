import io

from ds2cli.ui_bytes import ByteProgress, byte_progress_text


class Terminal(io.StringIO):
    """A text stream that is a terminal."""

    def isatty(self):
        return True


def test_lines_where_there_is_no_terminal(capsys):
    times = iter([0.0, 0.0, 10.0, 31.0, 62.0, 70.0, 90.0, 101.0])
    with ByteProgress("prepare", lambda: next(times)) as report:
        # continued: the rate is that of this run
        report.update("a.tar.gz", 100_000_000, 338_000_000)
        report.update("a.tar.gz", 150_000_000, 338_000_000)
        report.update("a.tar.gz", 193_000_000, 338_000_000)
        report.update("a.tar.gz", 286_000_000, 338_000_000)
        report.log("a.tar.gz: the connection was lost")
        report.update("verify a.tar.gz", 1, None)
        report.update("verify a.tar.gz", 2_000_001, None)
        report.update("verify a.tar.gz", 31_000_001, None)
    assert capsys.readouterr().err.splitlines() == [
        "prepare: a.tar.gz: 193 MB of 338 MB, 3 MB/s, 48 s left",
        "prepare: a.tar.gz: 286 MB of 338 MB, 3 MB/s, 17 s left",
        "prepare: a.tar.gz: the connection was lost",
        "prepare: verify a.tar.gz: 31 MB, 1 MB/s",
    ]


def test_a_task_that_starts_again(capsys):
    times = iter([0.0, 0.0, 10.0, 45.0, 50.0])
    with ByteProgress("prepare", lambda: next(times)) as report:
        report.update("a", 5000, 9000)
        # from the start, as the server ignores ranges
        report.update("a", 0, 9000)
        report.update("a", 7000, 9000)
    assert capsys.readouterr().err == "prepare: a: 7 kB of 9 kB, 1 kB/s, 10 s left\n"


def test_a_bar_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    with ByteProgress("prepare") as report:
        report.update("a.tar.gz", 1_000_000, 2_000_000)
        report.log("a.tar.gz: the connection was lost")
        report.update("verify a.tar.gz", 1_500_000, 2_000_000)
    shown = terminal.getvalue()
    assert "a.tar.gz" in shown and "1.0/2.0 MB" in shown and "verify a.tar.gz" in shown
    assert "prepare: a.tar.gz: the connection was lost\n" in shown


def test_nothing_to_show(capsys):
    with ByteProgress("prepare"):
        pass
    assert capsys.readouterr().err == ""
    assert byte_progress_text(0, 10_000, 0, 0.0) == "1 kB of 10 kB, 1 kB/s"
