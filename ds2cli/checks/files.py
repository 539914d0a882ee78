"""The checks of a row that read files, as the work of a process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, NamedTuple

from ds2cli.audio.recording import parse_recording
from ds2cli.checks.audio import AudioChecks, check_recording
from ds2cli.checks.faults import Finding
from ds2cli.checks.features import check_matrices
from ds2cli.manifest import PATH_FIELDS, Row

FIELDS = (
    *("id", *PATH_FIELDS, "offset", "duration", "speed"),
    *("sample_rate", "channel", "num_frames", "num_steps"),
)
"""The fields that these checks need; others need not be sent to a process."""


class Checked(NamedTuple):
    """What was found. samples: hash of the samples, 0 if unknown.  columns: those of each matrix by field."""

    found: list[Finding]
    samples: int
    columns: dict[str, int]


@dataclass(frozen=True)
class FileWorker:
    """Checks the files of rows. depth: how recordings are checked.  number: of the process."""

    depth: Literal["decode", "header", "exists"]
    audio: AudioChecks
    number: int = 1

    def __enter__(self) -> FileWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __call__(self, row: Row) -> Checked:
        """What is wrong with the recording, the features and the emission of a row."""
        found, samples = [], 0
        recording = parse_recording(row)
        if recording is not None and self.depth == "exists":
            if not os.path.isfile(recording.path):
                found = [("missing-audio", f"{recording.path}: no such file")]
        elif recording is not None:
            found, samples = check_recording(recording, self.audio)
        more, columns = check_matrices(row, values=self.depth == "decode")
        return Checked([*found, *more], samples, columns)

    def result(self) -> None:
        """Nothing more than the results of the rows."""
