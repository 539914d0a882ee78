"""One file a corpus, found by its file name.

`prepare(source, config, ledger)` yields its rows in any order; `OPTIONS` names the settings it reads, of those that not
every corpus has; `fetch(source, lang)`, where there is one, downloads it. The docstring says what the corpus is.
"""
