"""One file per corpus, found by its file name.

`prepare(source, config, ledger)` yields the rows, in any order; `OPTIONS` names the settings it reads, besides those
that every corpus reads; the optional `download(source, lang)` fetches the corpus. The docstring says what the corpus
is, where it comes from, its license and layout, and which recordings are dropped and why.
"""
