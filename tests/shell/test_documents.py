"""Every console example of the documents runs, and prints what the document shows.

A console block follows a line `<!-- test: ENVIRONMENT -->` that says where it runs, and what of its output may differ:
`numbers vary` compares the words between the numbers, `texts vary` the number of lines. A line … stands for any lines.
Blocks of one document and environment share a shell.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ds2cli.stages.sclite import find_program

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(?:<!-- test: (?P<where>[^>]*?) -->\n)?```console\n(?P<body>.*?)^```$", re.M | re.S)
NUMBER = re.compile(r"[-+]?\d[\d,.]*(?:e[-+]?\d+)?")
END = "end of command, status"
PORT = "2700"
"""The port of a server in the documents; the tests use a free one."""
STREAMING = ["--conf", "conf/streaming.toml", "--features", "conf/featurize.streaming.toml"]
"""Options of run.sh that train exp/en-streaming, a network for streams."""


@dataclass
class Command:
    """A command of a document, the lines that the document shows of its output, and where it stands."""

    line: str
    shown: list[str]
    place: str
    vary: str


@dataclass
class Shell:
    """A bash that runs commands one after another, their standard output and error as one stream."""

    folder: Path
    scratch: Path
    bash: subprocess.Popen = field(init=False)

    def __post_init__(self):
        env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "120",
            "no_proxy": "127.0.0.1",
        }
        self.bash = subprocess.Popen(
            ["bash", "--norc"], cwd=self.folder, env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.port = find_free_port()

    def run(self, line):
        """Output lines and exit status of a command."""
        # no command may read what is written here for the shell
        self.bash.stdin.write(f"{{ {line}\n}} < /dev/null\necho '{END}' $?\n")
        self.bash.stdin.flush()
        lines = []
        for out in self.bash.stdout:
            if out.startswith(END):
                return lines, int(out.split()[-1])
            lines.append(out.rstrip("\n").replace(f"{self.scratch}/", "/tmp/").replace(str(self.port), PORT))
        raise AssertionError(f"the shell ended in: {line}")

    def close(self):
        self.bash.stdin.close()
        self.bash.stdout.close()
        self.bash.wait()
        # a server that an example has not ended
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.bash.pid, signal.SIGTERM)


def find_free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def documents() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True)
    names = listed.stdout.split() or [str(p.relative_to(ROOT)) for p in ROOT.glob("*.md")]
    return [ROOT / name for name in names if (ROOT / name).exists()]


def commands(document: Path) -> Iterator[tuple[str, Command]]:
    """The environment of each command of a document, and the command."""
    text = document.read_text("utf-8")
    for block in BLOCK.finditer(text):
        environment, _, vary = (block["where"] or "").partition(", ")
        number = text[: block.start("body")].count("\n") + 1
        lines = block["body"].splitlines()
        while lines:
            first = number
            line = lines.pop(0)
            number += 1
            assert line.startswith("$ "), f"{document}:{first}: expected a command, `$ …`"
            while line.endswith("\\"):
                line += "\n" + lines.pop(0)
                number += 1
            shown = []
            while lines and not lines[0].startswith("$ "):
                shown.append(lines.pop(0))
                number += 1
            yield environment, Command(line[2:], shown, f"{document.relative_to(ROOT)}:{first}", vary)


def pattern(shown: list[str], vary: str) -> str:
    """A regular expression for the output that a document shows."""
    parts = []
    for line in shown:
        if line == "…":
            parts.append(r"(?:.*\n)*?")
        elif vary == "texts vary":
            parts.append(r".+\n")
        elif vary == "numbers vary":
            pieces = [re.escape(" ".join(piece.split())) for piece in NUMBER.split(line)]
            parts.append(r"\s*" + rf"\s*{NUMBER.pattern}\s*".join(p.replace(r"\ ", r"\s+") for p in pieces) + r"\s*\n")
        else:
            parts.append(re.escape(line.rstrip()) + r"[ \t]*\n")
    return "".join(parts)


def check(shell: Shell, command: Command):
    found, status = shell.run(command.line.replace("/tmp/", f"{shell.scratch}/").replace(PORT, str(shell.port)))
    output = "".join(f"{line}\n" for line in found)
    assert status == 0, f"{command.place}: {command.line}\nstatus {status}\n{output[-3000:]}"
    assert "Traceback" not in output, f"{command.place}: {output[-3000:]}"
    if command.shown:
        assert re.fullmatch(pattern(command.shown, command.vary), output), (
            f"{command.place}: {command.line}\nprinted\n{output}\nthe document shows\n" + "\n".join(command.shown)
        )


def run(document: Path, environments: set[str], folder: Path, scratch: Path):
    scratch.mkdir(exist_ok=True)
    shell = Shell(folder, scratch)
    try:
        for where, command in commands(document):
            if where in environments:
                check(shell, command)
    finally:
        shell.close()


def checkout(folder: Path) -> Path:
    """A copy of the folders that the documents' commands use."""
    for name in ("egs", "steps", "utils"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("data", "exp", "corpus"))
    shutil.copy(ROOT / "LICENSE", folder)
    return folder


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """A copy of the checkout in which `make demo` and the recipe for streams have run.

    DS2_TEST_DEMO=FOLDER: an egs/asterisk in which they have.
    """
    folder = checkout(tmp_path_factory.mktemp("demo"))
    recipe = folder / "egs" / "asterisk"
    if done := os.environ.get("DS2_TEST_DEMO"):
        for name in ("data", "exp", "corpus"):
            shutil.copytree(Path(done) / name, recipe / name)
    else:
        if not shutil.which("apt-get"):
            pytest.skip("no apt-get to fetch the recordings of the demo")
        env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        for options in ([], STREAMING):
            ran = subprocess.run([recipe / "run.sh", *options], env=env, capture_output=True, text=True, timeout=3000)
            assert ran.returncode == 0, ran.stderr[-3000:]
    if (ROOT / "tools").is_dir():
        (folder / "tools").symlink_to(ROOT / "tools")
    return folder


@pytest.fixture
def own_recordings(shared_data, tmp_path):
    """A checkout with recordings/ and more-text.txt.gz, as README's section on your own recordings supposes."""
    folder = checkout(tmp_path / "own")
    source = shared_data / "asterisk" / "en_US_f_Allison"
    texts = set()
    for i, line in enumerate((source / "transcripts.tsv").read_text("utf-8").splitlines()):
        name, _, text = line.partition("\t")
        words = tuple(re.findall(r"\w+", text.lower()))
        if (audio := source / f"{name}.flac").is_file() and words not in texts:
            texts.add(words)
            speaker = folder / f"recordings/speaker{i % 12}"
            speaker.mkdir(parents=True, exist_ok=True)
            shutil.copy(audio, speaker / audio.name)
            (speaker / f"{name}.txt").write_text(text + "\n", "utf-8")
    assert len(list(folder.glob("recordings/*/*.flac"))) > 30
    (folder / "more-text.txt.gz").write_bytes(gzip.compress(b"please hold the line\nthank you for calling\n" * 5))
    return folder


ENVIRONMENTS = {"demo", "demo kenlm", "demo sctk", "demo streaming", "demo server", "own", "shell"}


def with_blocks(environment: str) -> list[Path]:
    return [path for path in documents() if any(where == environment for where, _ in commands(path))]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", documents(), ids=name)
def test_every_console_block_says_where_it_runs(document):
    for where, command in commands(document):
        assert where in ENVIRONMENTS, f"{command.place}: write <!-- test: demo --> or the like above the block"
        assert command.vary in ("", "numbers vary", "texts vary"), command.place


@pytest.mark.parametrize("document", with_blocks("shell"), ids=name)
def test_examples_that_need_nothing(document, tmp_path):
    run(document, {"shell"}, checkout(tmp_path / "checkout"), tmp_path / "scratch")


def has_streams(demo):
    """Whether a demo has the network for streams; a folder of DS2_TEST_DEMO may not."""
    return (demo / "egs/asterisk/exp/en-streaming/decode.toml").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("document", with_blocks("demo"), ids=name)
def test_examples_after_the_demo(document, demo, tmp_path):
    installed = {
        "demo kenlm": (ROOT / "tools/kenlm/bin/build_binary").is_file(),
        "demo sctk": find_program("sclite") is not None,
        "demo streaming": has_streams(demo),
    }
    run(document, {"demo", *(name for name, is_there in installed.items() if is_there)}, demo, tmp_path / "scratch")


@pytest.mark.slow
@pytest.mark.parametrize("document", with_blocks("demo server"), ids=name)
def test_examples_with_a_server(document, demo, tmp_path):
    for module in ("starlette", "openai"):
        pytest.importorskip(module)
    if not shutil.which("curl") or not has_streams(demo):
        pytest.skip("needs curl, and the demo's network for streams")
    run(document, {"demo server"}, demo, tmp_path / "scratch")


@pytest.mark.slow
@pytest.mark.parametrize("document", with_blocks("own"), ids=name)
def test_examples_with_own_recordings(document, own_recordings, tmp_path):
    run(document, {"own"}, own_recordings, tmp_path / "scratch")
