"""How many planted faults the checks of other toolkits find: lhotse's `validate-pair --read-data` and Kaldi's scripts.

Faults of each kind are planted in real recordings (tests/stages/planted_faults.py), and the rows are written in the
format of each toolkit, as far as it can state the same. First each kind is planted alone, so that no fault hides
another, then all are planted together. Prints a Markdown table: named (with the row), found (without), or -.

    python tests/peers/bench_checks.py [--kaldi FOLDER] [--rows 60]

FOLDER has Kaldi's egs/wsj/s5/utils; without it only lhotse and ours run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("DS2_TEST_DATA", ROOT.parent / "shared" / "data")) / "LibriSpeech"
sys.path.insert(0, str(ROOT / "tests" / "stages"))

from planted_faults import PLANTS, SECONDS, make_manifest  # noqa: E402

NO_FEATURES = {"stale-archive", "other-bins", "wrong-num-frames", "missing-archive"}
"""Faults of features, which the other toolkits store in formats of their own."""
NO_ROW = {"not-json", "not-utf8"}
"""Lines that are no rows."""
OF_TRAINING = {"label-too-long", "label-too-long-at-speed", "unspellable"}
"""What depends on a network."""
KINDS = [kind for kind in PLANTS if kind not in NO_FEATURES | NO_ROW]


def read_rows(path: Path) -> list[dict]:
    """The rows of a planted manifest."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def run(command: list[str], folder: Path) -> tuple[int, str]:
    """Exit status and output of a command."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    return done.returncode, done.stdout + done.stderr


def check_lhotse(rows: list[dict], folder: Path) -> tuple[int, str]:
    """Write recordings and supervisions, and validate them with their samples."""
    recordings, supervisions = {}, []
    for row in rows:
        path = row["audio_filepath"]
        rate, duration = row.get("sample_rate", 16000), row.get("duration", SECONDS)
        whole = SECONDS if "offset" in row else duration
        recordings[path] = {
            "id": path,
            "sources": [{"type": "file", "channels": [0], "source": str(folder / path)}],
            "sampling_rate": rate,
            "num_samples": round(whole * rate),
            "duration": whole,
        }
        times = {"start": row.get("offset", 0.0), "duration": duration, "channel": row.get("channel", 0)}
        facts = {name: row[name] for name in ("text", "speaker") if name in row}
        supervisions.append({"id": row["id"], "recording_id": path, **times, **facts})
    for name, items in (("recordings", recordings.values()), ("supervisions", supervisions)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items), "utf-8")
    code = "import sys; from lhotse.bin.modes import cli; import lhotse.bin.modes.validate; cli()"
    return run(
        [sys.executable, "-c", code, "validate-pair", "--read-data", "recordings.jsonl", "supervisions.jsonl"], folder
    )


def check_kaldi(rows: list[dict], folder: Path, utils: Path) -> tuple[int, str]:
    """Write a data folder, and validate it."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    shutil.copytree(utils, folder / "utils", dirs_exist_ok=True)
    files: dict[str, list[str]] = defaultdict(list)
    with_segments = any("offset" in row for row in rows)
    for row in rows:
        name = row["id"]
        recording = row["audio_filepath"] if with_segments else name
        begin, duration = row.get("offset", 0.0), row.get("duration", SECONDS)
        files["wav.scp"].append(f"{recording} {folder / row['audio_filepath']}")
        if with_segments:
            files["segments"].append(f"{name} {recording} {begin} {begin + duration}")
        files["utt2dur"].append(f"{name} {duration}")
        # the ids of utterances begin with those of speakers, where these are known
        files["utt2spk"].append(f"{name} {name}")
        files["spk2utt"].append(f"{name} {name}")
        if "text" in row:
            files["text"].append(f"{name} {row['text']}")
    files["wav.scp"] = sorted(set(files["wav.scp"])) if with_segments else files["wav.scp"]
    for name, lines in files.items():
        (data / name).write_text("".join(line + "\n" for line in lines), "utf-8", newline="")
    # the script looks for a locale by a name that Debian spells otherwise; without it, é is not printable
    (folder / "locale").write_text("#!/bin/sh\necho C.UTF-8\n")
    (folder / "locale").chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    command = ["env", f"PATH={path}", "bash", "utils/validate_data_dir.sh", "--no-feats", "--no-spk-sort", "data"]
    return run(command, folder)


def check_ours(path: Path) -> dict[int, set[str]]:
    """The kinds that ours finds, by line."""
    command = [sys.executable, "-m", "ds2cli", "data", "validate", path.name, "--json"]
    command += ["--train-config", "train.toml", "--vocab", "tokens.txt"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, env=env)
    found = defaultdict(set)
    for line in done.stdout.splitlines():
        fault = json.loads(line)
        found[fault["line"]].add(fault["kind"])
    return found


def compare(kinds: list[str], number: int, utils: Path | None, each: int = 1) -> dict[str, tuple[bool, int]]:
    """Whether each toolkit reports anything, and how many of the planted rows it names."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, expected = make_manifest(DATA, folder, number, each, kinds=kinds)
        rows = read_rows(path)
        planted = {line: kinds & set(PLANTS) for line, kinds in expected.items() if kinds}
        ours = check_ours(path)
        exact = all(ours.get(line, set()) == kinds for line, kinds in expected.items())
        result = {"ours": (bool(ours) and exact, sum(ours.get(line) == kinds for line, kinds in planted.items()))}
        peers = {"lhotse": check_lhotse(rows, folder)}
        if utils:
            peers["kaldi"] = check_kaldi(rows, folder, utils)
        for peer, (status, output) in peers.items():
            of_rows = [{str(rows[line - 1]["id"]), rows[line - 1]["audio_filepath"]} for line in planted]
            named = sum(any(text in output for text in texts) for texts in of_rows)
            # lhotse's command prints that it failed, and has status 0
            result[peer] = (status != 0 or "Validation failed" in output, named)
        return result


def main() -> None:
    """Parse the arguments, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kaldi", type=Path, help="folder with Kaldi's egs/wsj/s5/utils")
    parser.add_argument("--rows", type=int, default=60, help="recordings of each run [default: 60]")
    options = parser.parse_args()
    peers = ["lhotse", *(["kaldi"] if options.kaldi else [])]
    healthy = compare([], options.rows, options.kaldi)
    for peer in peers:
        assert not healthy[peer][0], f"{peer} reports healthy rows"
    print(f"| planted in one of {options.rows} rows | ds2 data validate | {' | '.join(peers)} |")
    print("|:--|:--|" + ":--|" * len(peers))
    found = dict.fromkeys(["ours", *peers], 0)
    named = dict.fromkeys(["ours", *peers], 0)
    for kind in KINDS:
        result = compare([kind], options.rows, options.kaldi)
        for name, (reported, count) in result.items():
            found[name] += reported
            named[name] += reported and count > 0
        shown = [
            "named" if result[n][0] and result[n][1] else "found" if result[n][0] else "-" for n in ("ours", *peers)
        ]
        print(f"| {kind} | {' | '.join(shown)} |", flush=True)
    print(f"| found, of {len(KINDS)} kinds | {' | '.join(str(found[n]) for n in ('ours', *peers))} |")
    print(f"| and the row is named | {' | '.join(str(named[n]) for n in ('ours', *peers))} |")
    together = compare(KINDS, max(options.rows, 4 * len(KINDS)), options.kaldi)
    counts = " | ".join(str(together[n][1]) for n in ("ours", *peers))
    print(f"| all {len(KINDS)} together: rows named | {counts} |")


if __name__ == "__main__":
    main()
