"""Everything that can go wrong because of a user, a file or one utterance.

Ds2Error          ran, and the result is refused            exit status 1
├── UsageError    options contradict or name nothing        exit status 2
└── DataError     a file or a manifest is not what it says  exit status 3
BadUtterance      one utterance is unusable: it is dropped and counted, the run goes on
"""

from __future__ import annotations


class Ds2Error(Exception):
    """A failure with one line meant for the user: `where: what is wrong, expected / got (the fix)`."""

    exit_code = 1


class UsageError(Ds2Error):
    """The options contradict each other or name something that does not exist."""

    exit_code = 2


class DataError(Ds2Error):
    """A file or a manifest row is malformed; the message carries `path:line` where there is one."""

    exit_code = 3


class BadUtterance(Exception):
    """One utterance is unusable; the stage drops it with this reason and goes on.

    reason: a kebab-case code that tables are counted by, as "truncated-audio".
    detail: a short sentence with the numbers.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
