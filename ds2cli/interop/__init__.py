"""The data formats of other toolkits, found by their file names. A format is a module with these names:

    ImportOptions       config dataclass derived from `ImportConfig` (config/interop.py)
    ExportOptions       config dataclass derived from `ExportConfig`
    MAIN                name of a file that each export has; its settings and dropped rows are beside it
    FILES               names of files and folders by which DIR is known to have data of the format already
    read(source, config, ledger)
                        a `Found`: the rows of SRC. ledger: `ledger.drop(id, reason, detail)` records what cannot be
                        used, so that each utterance of SRC is a row or dropped
    write(open_rows, folder, config, ledger)
                        writes the files of DIR, and counts in `ledger.kept`. open_rows(ledger): the rows of IN, sorted;
                        may be called more than once, and counts bad lines in the ledger that it is given

What a format has no field for is kept beside it (`_extra.py`), so that `read` gives the rows that `write` was given.
Nothing in SRC is executed, unless --allow-commands is given.

The docstring of the module is the help of both commands. `ds2 data import hf-audiofolder` is hf_audiofolder.py.
"""

from __future__ import annotations

from typing import Any

from ds2cli import plugins
from ds2cli.errors import UsageError

__path__.extend(plugins.search_path("interop"))


def format_names() -> list[str]:
    """The names of the known formats."""
    return [name.replace("_", "-") for name in plugins.find_modules(__name__)]


def load_format(name: str) -> Any:
    """The module of a format; UsageError for an unknown name, or a plugin that lacks a name."""
    if name.replace("_", "-") not in (known := format_names()):
        expected = ", ".join(known)
        raise UsageError(
            f"unknown format {name!r}, expected one of {expected} ({plugins.VARIABLE} adds those of plugins)"
        )
    needs = ("ImportOptions", "ExportOptions", "MAIN", "FILES", "read", "write")
    return plugins.load_module(__name__, name.replace("-", "_"), "format", needs=needs)
