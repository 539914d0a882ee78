"""`make gpu` with parts that need no GPU: limits, tables that stay whole, and its messages."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "native" / "gpu.py"
DOCUMENT = """# CTC

<!-- make gpu: bench -->
not measured
<!-- end -->

text

<!-- make gpu: checks -->
not run
<!-- end -->
"""


def python(code):
    return [sys.executable, "-c", code]


def load(folder):
    """The module of `make gpu` with its files in a folder."""
    spec = importlib.util.spec_from_file_location("make_gpu", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_gpu"] = module
    spec.loader.exec_module(module)
    module.ROOT, module.WORK, module.SITE, module.WHEELS = folder, folder / "work", folder / "site", folder / ".wheels"
    module.RESULTS = folder / "RESULTS.md"
    return module


@pytest.fixture
def gpu(tmp_path):
    module = load(tmp_path)
    module.RESULTS.write_text(DOCUMENT)
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    return module


def part(gpu, command, **settings):
    return gpu.Part("a part", command, **{"needs": ("gpu",), "seconds": 60.0, **settings})


def test_a_table_is_replaced_and_nothing_else(gpu):
    gpu.PARTS = {"bench": part(gpu, python("print('H200\\n\\n| N |\\n|--:|\\n| 1 |')"), table=True)}
    assert gpu.run_part("bench", {}, 60, 1) == "ok: table written to RESULTS.md"
    before, _, rest = DOCUMENT.partition("not measured\n")
    text = gpu.RESULTS.read_text()
    assert text.startswith(before + "Measured by `make gpu`, 20") and text.endswith(rest)
    measured = text[len(before) : -len(rest)]
    assert "`python -c 'print(" in measured and measured.endswith("\n\nH200\n\n| N |\n|--:|\n| 1 |\n")
    assert gpu.run_part("bench", {}, 60, 1).startswith("ok") and gpu.RESULTS.read_text() == text


@pytest.mark.parametrize(
    "code", ["print('| half |'); raise SystemExit(3)", "print('| half |'); import time; time.sleep(60)"]
)
def test_a_failed_or_late_benchmark_changes_no_table(gpu, capsys, code):
    gpu.PARTS = {"bench": part(gpu, python(code), table=True, seconds=2.0)}
    end = gpu.run_part("bench", {}, 60, 1)
    expected = ["failed: exit status 3", "failed: stopped after 2 s (--slow 2 gives twice the time)"]["sleep" in code]
    assert end == f"{expected}; see work/bench.log" and gpu.RESULTS.read_text() == DOCUMENT
    assert ("| half |" in capsys.readouterr().out) == ("exit status" in end)


def test_a_benchmark_that_measured_nothing_changes_no_table(gpu):
    gpu.PARTS = {"bench": part(gpu, python("print('nothing measured')"), table=True)}
    assert gpu.run_part("bench", {}, 60, 1) == "failed: no table in work/bench.log: nothing measured"
    assert gpu.RESULTS.read_text() == DOCUMENT


def test_skipped_tests_have_not_passed(gpu):
    gpu.PARTS = {name: part(gpu, python(f"print('36 {name}')")) for name in ("passed", "skipped")}
    assert [gpu.run_part(name, {}, 60, 1) for name in gpu.PARTS] == ["ok: 36 passed", "failed: 36 skipped"]


def test_no_part_starts_when_the_time_is_used_up(gpu):
    gpu.PARTS = {"bench": part(gpu, python("print(1)"))}
    assert gpu.run_part("bench", {}, 0.5, 1).startswith("failed: no time is left")


def test_a_part_without_its_gpu_runs_on_the_cpu_or_not_at_all(gpu, capsys):
    gpu.PARTS = {
        "checked": part(gpu, python("raise SystemExit(1)"), cpu=tuple(python("print('3 passed')"))),
        "bench": part(gpu, python("raise SystemExit(1)"), table=True),
        "packed": part(gpu, [], needs=("gpu", "packages"), cpu=tuple(python("print(1)"))),
    }
    obstacles = {"gpu": "torch finds none", "packages": "missing packages: x"}
    assert gpu.run_part("checked", obstacles, 0, 1) == "waits for a GPU; on the CPU: 3 passed"
    assert gpu.run_part("bench", obstacles, 60, 1) == "waits for a GPU: nothing of it runs here"
    assert gpu.run_part("packed", obstacles, 60, 1) == "waits for a GPU and packages: nothing of it runs here"
    assert gpu.RESULTS.read_text() == DOCUMENT
    assert "gpu: packed: missing packages: x" in capsys.readouterr().out


def test_everything_that_can_run_decides_the_exit_status(gpu, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    found = {"torch": "2.0+cpu", "gpus": [], "libraries": {"cpu": "", "cuda": ""}}
    gpu.probe = lambda _: found
    gpu.PARTS = {"checked": part(gpu, [], cpu=tuple(python("print('3 passed')"))), "bench": part(gpu, [], table=True)}
    assert gpu.main() == 0
    out = capsys.readouterr().out
    assert "gpu: checked: torch 2.0+cpu finds no GPU" in out and out.endswith("s in all; RESULTS.md is as it was\n")
    gpu.PARTS["checked"] = part(gpu, [], cpu=tuple(python("raise SystemExit(1)")))
    assert gpu.main() == 1
    found["gpus"] = ["H200"]
    gpu.PARTS = {"checked": part(gpu, python("print('3 passed')"))}
    assert gpu.main() == 0
    assert "H200, torch 2.0+cpu\n\n| part | result |\n|:--|:--|\n| checked | ok: 3 passed (" in gpu.RESULTS.read_text()
    gpu.probe = lambda _: {"error": "no module named torch"}
    assert gpu.main() == 0
    assert "checked: waits for torch: nothing of it runs here" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_killed_run_leaves_whole_tables(tmp_path, number):
    (tmp_path / "RESULTS.md").write_text(DOCUMENT)
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    pid = tmp_path / "pid"
    code = f"""
import runpy, sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(ROOT)!r}]
from pathlib import Path
load, python, part = (runpy.run_path({__file__!r})[name] for name in ("load", "python", "part"))
gpu = load(Path({str(tmp_path)!r}))
gpu.probe = lambda _: {{"torch": "2", "gpus": ["H200"], "libraries": {{"cpu": "", "cuda": ""}}}}
gpu.PARTS = {{
    "bench": part(gpu, ["printf", "H200\\n| new |\\n"], table=True),
    "other": part(gpu, ["sh", "-c", "sleep 60 & echo $! > {pid}; wait"], table=True),
}}
sys.argv = ["gpu.py"]
gpu.main()
"""
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (pid.is_file() and pid.read_text().endswith("\n")) and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(number)
    _, errors = run.communicate(timeout=30)
    assert run.returncode != 0
    text = (tmp_path / "RESULTS.md").read_text()
    assert "| new |" in text and text.endswith(DOCUMENT.partition("<!-- end -->")[2]), errors
    child = int(pid.read_text())
    if number == signal.SIGKILL:
        os.killpg(os.getpgid(child), signal.SIGKILL)
    else:
        assert not Path(f"/proc/{child}").exists() or ") Z " in Path(f"/proc/{child}/stat").read_text()


def test_what_is_installed_is_found_here_and_in_the_folder_of_wheels(gpu):
    assert gpu.is_installed("numpy") and gpu.is_installed("PyTest") and not gpu.is_installed("no-such-package")
    assert gpu.find_missing_packages() == []
    metadata = gpu.SITE / "no_such_package-1.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: No.such_package\nVersion: 1\n")
    assert gpu.is_installed("no-such-package")


def test_all_limits_together_are_eight_minutes_at_most(gpu):
    setup = gpu.INSTALL_S + 2 * gpu.PROBE_S + gpu.BUILD_S
    assert setup + sum(p.seconds for p in gpu.PARTS.values()) <= gpu.TOTAL_S < 480


def test_what_is_there_is_found_among_warnings(gpu):
    gpu.PROBE = (
        "import sys; print('a warning', file=sys.stderr); print('{\"gpus\": []}'); print('done', file=sys.stderr)"
    )
    assert gpu.probe(60) == {"gpus": []}
    gpu.PROBE = "raise ImportError('no torch')"
    assert gpu.probe(60) == {"error": "ImportError: no torch"}
    gpu.PROBE = "import time; time.sleep(60)"
    assert gpu.probe(0.5) == {"error": "it was not loaded within 0 s"}


def test_the_real_tables_have_their_markers():
    gpu = load(ROOT)
    text = (ROOT / "native" / "bench" / "RESULTS.md").read_text()
    names = [name for name, p in gpu.PARTS.items() if p.table] + ["checks"]
    for name in names:
        assert text.count(f"<!-- make gpu: {name} -->\n") == 1
    assert text.count("<!-- end -->\n") == len(names)
    for p in gpu.PARTS.values():
        assert all((ROOT / word).is_file() for word in [*p.command, *p.cpu] if word.endswith((".py", ".toml")))
