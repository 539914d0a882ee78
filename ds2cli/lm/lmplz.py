"""KenLM's programs as subprocesses: lmplz estimates from text of any size, build_binary converts ARPA to binary."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.lm.kneser_ney import FALLBACK_DISCOUNTS, Discounts, too_little_text

INSTALL = "utils/install_kenlm.sh"
_STATISTICS = re.compile(r"^(\d+) \d+(?:/\d+)? D1=(\S+) D2=(\S+) D3\+=(\S+)$", re.MULTILINE)
_SUBSTITUTED = re.compile(r"^Substituting fallback discounts for order (\d+)", re.MULTILINE)


def find_program(program: str) -> str | None:
    """The path of a KenLM program: on the PATH, in $KENLM_BIN, or in tools/kenlm/bin of the repository; else None."""
    folders = [os.environ.get("KENLM_BIN", ""), str(Path(__file__).parents[2] / "tools" / "kenlm" / "bin")]
    return shutil.which(program) or next((p for f in folders if f and (p := shutil.which(program, path=f))), None)


def require_program(program: str, needed_for: str) -> str:
    """The path of a KenLM program; UsageError with the command that installs it when it is missing."""
    path = find_program(program)
    if path is None:
        raise UsageError(f"{needed_for} needs KenLM's {program}, which was not found ({INSTALL})")
    return path


def estimate(
    text: Path,
    arpa: Path,
    order: int,
    prune: list[int],
    vocabulary: Iterable[str] | None = None,
    *,
    memory: str = "2G",
    fallback: bool = True,
) -> list[Discounts]:
    """Run lmplz, again with --discount_fallback when the text is too small; return the discounts.

    text: one sentence per line.  arpa: the file to write.  vocabulary: n-grams with other words are dropped.
    DataError when the text is too small and `fallback` is off, Ds2Error with lmplz's message when it fails otherwise.
    """
    command = [
        require_program("lmplz", "--estimator lmplz"),
        "--order",
        str(order),
        "--memory",
        memory,
        "--temp_prefix",
    ]
    command += [f"{arpa.parent}/", "--text", str(text), "--arpa", str(arpa), "--prune", *map(str, prune)]
    if vocabulary is not None:
        limit = arpa.with_suffix(".vocabulary")
        limit.write_text("\n".join(vocabulary), "utf-8")
        command += ["--limit_vocab_file", str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    reason = ""
    if done.returncode and "BadDiscountException" in done.stderr:
        reason = _discount_failure(done.stderr)
        if not fallback:
            raise DataError(too_little_text(reason))
        command += ["--discount_fallback", *map(str, FALLBACK_DISCOUNTS)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise Ds2Error(f"lmplz failed with status {done.returncode}: {_last_error(done.stderr)}")
    replaced = {int(n) + 1 for n in _SUBSTITUTED.findall(done.stderr)}
    return [
        Discounts((float(d1), float(d2), float(d3)), reason if int(n) in replaced else "")
        for n, d1, d2, d3 in _STATISTICS.findall(done.stderr)
    ]


def build_binary(arpa: Path, binary: Path) -> None:
    """Convert an ARPA file to KenLM's `probing` binary. Ds2Error with build_binary's message when it fails."""
    command = [
        require_program("build_binary", f"writing {binary.name}"),
        "-T",
        f"{binary.parent}/",
        "probing",
        str(arpa),
        str(binary),
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise Ds2Error(f"build_binary failed with status {done.returncode}: {_last_error(done.stderr)}")


def _discount_failure(log: str) -> str:
    """Why lmplz could not compute its discounts, worded like `kneser_ney.compute_discounts`."""
    no_count = re.search(r"any (\d+-gram)s with adjusted count (\d)", log)
    out_of_range = re.search(r"(\d+-gram) discount out of range for adjusted count (\d): (\S+)\.", log)
    if no_count:
        return f"no {no_count[1]} has adjusted count {no_count[2]}"
    return f"D{out_of_range[2]} of {out_of_range[1]}s would be {out_of_range[3]}" if out_of_range else _last_error(log)


def _last_error(log: str) -> str:
    """The line of a KenLM program's log that states the error."""
    lines = [line.strip() for line in log.splitlines() if line.strip() and not line.startswith(("===", "---", "***"))]
    thrown = [i for i, line in enumerate(lines) if " threw " in line]
    if thrown and thrown[-1] + 1 < len(lines):
        return lines[thrown[-1] + 1].partition(";")[0]
    last = [line for line in lines if line not in ("ERROR", "SUCCESS")]
    return last[-1] if last else "no message"
