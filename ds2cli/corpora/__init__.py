"""One file per corpus, found by its file name. A corpus is a module with these names:

    Options                            config dataclass derived from `PrepareConfig` (config/prepare.py); each setting
                                       that it adds is an option of `ds2 prepare NAME`
    prepare(source, config, ledger)    yields the rows, in any order. source: SRC of the command line. config: an
                                       `Options`. ledger: `ledger.drop(id, reason, detail)` records what is left out
    fetch(source, config, report)      optional: downloads what config asks for into `source`, before `prepare` is
                                       called. report: shows the progress, a `Report` (_download.py)

A row has an `id` (without spaces), an `audio_filepath`, usually a `text` as the corpus writes it, and optionally
`offset` and `duration` (s, for a part of a longer file), `channel` (a number from 0), `speaker`, `lang` and `split`.
`stages/prepare.py` does the rest for every corpus: it sorts the rows, reads the recordings, adds `duration` and
`sample_rate`, normalizes the texts, and drops what cannot be used, such as a recording that is shorter than the
`duration` of its row. Yield rows one by one if there may be millions: they are sorted in files.

The docstring of the module is the help of `ds2 prepare NAME`: what the corpus is, its license, source and layout, and
which recordings are dropped and why. Paragraphs keep their line breaks, except the last, `Example: ds2 prepare …`.
tests/house/plugins/corpora/dummy.py is a short example.
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
