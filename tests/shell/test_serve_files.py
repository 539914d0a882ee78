"""The container file and the systemd unit of `ds2 serve`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ds2cli.config.serve import ServeConfig
from ds2cli.serve.server import FINISH_S

ROOT = Path(__file__).parents[2]
FILES = ROOT / "utils" / "serve"


def test_the_image_has_what_the_server_needs_and_no_torch():
    done = subprocess.run([sys.executable, FILES / "requirements.py"], capture_output=True, text=True, check=True)
    names = {re.match(r"[\w-]+", line)[0] for line in done.stdout.splitlines()}
    assert {"numpy", "numba", "soundfile", "av", "soxr", "starlette", "uvicorn", "websockets"} <= names
    assert not names & {"torch", "pytest", "onnxruntime", "matplotlib"}


def test_every_file_that_the_image_copies_is_not_ignored():
    text = (FILES / "Containerfile").read_text()
    kept = [line[1:] for line in (FILES / "Containerfile.dockerignore").read_text().splitlines() if line[:1] == "!"]
    assert {path for path in kept if not (ROOT / path).exists()} == set()
    assert "utils/serve/requirements.py" in text and "utils/serve" in kept
    assert re.findall(r"^(?:USER|EXPOSE|STOPSIGNAL) (\S+)", text, re.M) == ["ds2", str(ServeConfig.port), "SIGTERM"]


def test_the_unit_is_valid_and_waits_for_the_drain(tmp_path):
    text = (FILES / "ds2-serve.service").read_text()
    (seconds,) = map(int, re.findall(r"TimeoutStopSec=(\d+)", text))
    assert seconds > ServeConfig.drain + FINISH_S
    if not (program := shutil.which("systemd-analyze")):
        pytest.skip("needs systemd-analyze")
    # it checks that the program exists
    (tmp_path / "ds2-serve.service").write_text(text.replace("/opt/ds2/bin/ds2", "/bin/true"))
    done = subprocess.run(
        [program, "verify", tmp_path / "ds2-serve.service"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
