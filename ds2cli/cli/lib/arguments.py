"""Check the arguments of the command line before any command sees them."""

from __future__ import annotations

from collections.abc import Sequence

from ds2cli.encoding import explain_name, is_undecoded
from ds2cli.errors import UsageError


def check_arguments(arguments: Sequence[str]) -> None:
    """UsageError for an argument that no command accepts: an empty one, or one that is not UTF-8.

    A path that is empty would be the current folder. Rows and OUT.config.toml, which are UTF-8, could not contain
    others.
    """
    for before, argument in zip(["ds2", *arguments], arguments, strict=False):
        if not argument:
            hint = f" ({before}= for a value that is empty)" if before.startswith("--") and before != "--" else ""
            raise UsageError(f"the argument after {before!r} is empty, perhaps a variable that is not set{hint}")
        if any(map(is_undecoded, argument)):
            raise UsageError(explain_name(argument))
