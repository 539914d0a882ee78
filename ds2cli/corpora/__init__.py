"""One file per corpus, found by its file name.

`Options` is a config dataclass: the settings of every corpus, and those of this one, each of which is an option of
`ds2 prepare NAME`. `prepare(source, config, ledger)` yields the rows, in any order; `config` is an `Options`. A row has
`id`, `audio_filepath` and `text`, and may have other fields of a manifest (cli/README.md), such as `speaker`, or
`offset` and `duration` of a segment; the stage adds `duration` and `sample_rate`, normalizes the text, and drops what
cannot be used. The docstring is the help: it says what the corpus is, where it comes from, its license and layout, and
which recordings are dropped and why.
"""

from __future__ import annotations

from typing import Any

from ds2cli import plugins

__path__.extend(plugins.search_path("corpora"))


def corpus_names() -> list[str]:
    """The names of the known corpora."""
    return plugins.find_modules(__name__)


def load_corpus(name: str) -> Any:
    """The module of a corpus; UsageError for an unknown name, or a plugin without `Options` and `prepare`."""
    return plugins.load_module(__name__, name, "corpus", needs=("Options", "prepare"))
