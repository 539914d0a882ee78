"""The errors that a user, a file or one utterance can cause.

Ds2Error          the command ran, and its result is refused    exit status 1
├── UsageError    wrong or contradictory options                exit status 2
└── DataError     a missing or malformed file or row            exit status 3
BadUtterance      one utterance is unusable: it is dropped and counted, and the command continues
"""

from __future__ import annotations

TERMINATED = 143
"""Exit status of a command that SIGTERM ended: 128 + 15, as in a shell."""


class Ds2Error(Exception):
    """A failure reported to the user as one line: `where: what is wrong: expected, found (the fix)`."""

    exit_code = 1


class UsageError(Ds2Error):
    """Options that contradict each other or name something that does not exist."""

    exit_code = 2


class DataError(Ds2Error):
    """A missing or malformed file or manifest row; the message starts with `path:line` if a line is at fault."""

    exit_code = 3


class BadUtterance(Exception):
    """One unusable utterance: the stage drops it with this reason and continues.

    reason: a kebab-case code to count by, such as "truncated-audio".
    detail: a short sentence with the numbers.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
