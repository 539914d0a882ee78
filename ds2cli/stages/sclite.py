"""Score with NIST's own program: sclite on the trn files of references and hypotheses."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ds2cli import io
from ds2cli.atomic import replacing, temporary_folder, together
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.metrics.wer import Counts

INSTALL = "apt-get install sctk, or utils/install_sctk.sh"
REPORTS = ("sys", "raw", "pra", "sgml", "dtl")
"""What sclite writes: percentages and counts per speaker, alignments, those as input of sc_stats, confusion pairs."""

_FOLDERS = ("/usr/lib/sctk/bin", str(Path(__file__).parents[2] / "tools" / "sctk" / "bin"))
_TOTALS = {
    "sentences": r"^ sentences +(\d+)",
    "hits": r"^Percent Correct .*\( *(\d+)\)",
    "subs": r"^Percent Substitution .*\( *(\d+)\)",
    "ins": r"^Percent Insertions .*\( *(\d+)\)",
    "dels": r"^Percent Deletions .*\( *(\d+)\)",
}


@dataclass(frozen=True)
class ScliteResult:
    """What sclite found. text: its summary per speaker.  counts: of all utterances together."""

    text: str
    sentences: int
    counts: Counts

    def describe_agreement(self, counts: Counts) -> str:
        """A sentence that says whether these counts, of the same texts, are those of sclite."""
        ours, theirs = _format_counts(counts), _format_counts(self.counts)
        if ours == theirs:
            return f"sclite counts the same: {theirs}"
        return f"sclite counts {theirs}; ds2 score counts {ours}"


def find_program(program: str) -> str | None:
    """The path of an SCTK program: on the PATH, where Debian has it, or in tools/sctk/bin of the repository."""
    return shutil.which(program) or next((p for f in _FOLDERS if (p := shutil.which(program, path=f))), None)


def require_program(program: str, needed_for: str) -> str:
    """The path of an SCTK program; UsageError with the command that installs it when it is missing."""
    path = find_program(program)
    if path is None:
        raise UsageError(f"{needed_for} needs SCTK's {program}, which was not found ({INSTALL})")
    return path


def run_sclite(folder: str, ref: str, hyp: str, *, markup: bool = False) -> ScliteResult:
    """Run sclite on two trn files, case-sensitively; write its reports to FOLDER/HYP.{sys,raw,pra,sgml,dtl}.

    Every utterance of `hyp` is scored; those of `ref` alone are not, so a missing hypothesis is written as an empty one
    (see `TrnWriter`). The speaker is the part of the id before the first `-` or `_`; if an id has neither, each
    utterance is a speaker.
    markup: words in parentheses are optionally deletable (-D), fragments such as `re-` match words that begin so (-F).
    UsageError without sclite, DataError if a file cannot be read, Ds2Error with sclite's message if it fails.
    """
    program = require_program("sclite", "--sclite")
    options = ["-D", "-F"] if markup else []
    name = Path(hyp).name
    with temporary_folder("ds2-sclite-") as work:
        # the title is in the reports, a name of that file would have the path of the temporary folder
        command = [program, "-r", str(Path(ref).absolute()), "trn", "-h", str(Path(hyp).absolute()), "trn", name]
        command += ["-i", "spu_id" if _have_speakers(hyp) else "sp", "-s", "-e", "utf-8", *options]
        command += ["-o", "all", "sgml", "dtl", "-O", str(work), "-n", name, "-f", "0"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        except OSError as e:
            raise Ds2Error(f"sclite ({program}) cannot be run: {(e.strerror or str(e)).lower()} ({INSTALL})") from e
        reports = {report: work / f"{name}.{report}" for report in REPORTS}
        if done.returncode or not all(file.is_file() for file in reports.values()):
            if done.returncode < 0:
                raise Ds2Error(f"sclite was ended by signal {-done.returncode} (very long utterances take much memory)")
            if not done.returncode:
                raise Ds2Error(f"sclite ({program}) wrote no reports, expected version 2.4.10 or later ({INSTALL})")
            error = _find_error("\n".join([done.stdout, done.stderr]))
            raise Ds2Error(f"sclite failed with status {done.returncode}: {error}")
        with together():
            for report, file in reports.items():
                with replacing(f"{folder}/{name}.{report}") as target:
                    shutil.copyfile(file, target)
        return _parse(reports["sys"].read_text("utf-8", "replace"), reports["dtl"].read_text("utf-8", "replace"))


def _parse(summary: str, totals: str) -> ScliteResult:
    found = {name: re.search(pattern, totals, re.MULTILINE) for name, pattern in _TOTALS.items()}
    numbers = {name: int(match[1]) for name, match in found.items() if match}
    if len(numbers) < len(_TOTALS):
        raise Ds2Error("sclite's report has no totals: expected a version such as 2.4.10")
    sentences = numbers.pop("sentences")
    return ScliteResult(summary.strip("\n"), sentences, Counts(**numbers))


def _have_speakers(trn: str) -> bool:
    """Whether each id of a trn file has the `-` or `_` that ends the name of its speaker; DataError if it has no id."""
    is_empty = True
    for _, line in io.read_lines(trn):
        if not line.strip() or line.startswith((";;", "**")):
            continue
        is_empty = False
        id_ = line[line.rfind("(") :]
        if "-" not in id_ and "_" not in id_:
            return False
    if is_empty:
        raise DataError(f"{trn}: no utterances, expected at least one")
    return True


def _format_counts(counts: Counts) -> str:
    return f"{counts.errors} / {counts.total}, {counts.ins} ins, {counts.dels} del, {counts.subs} sub"


def _find_error(log: str) -> str:
    """The first line of a log that names an error, or else the last one."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return [*errors, *lines[-1:], "no message"][0]
