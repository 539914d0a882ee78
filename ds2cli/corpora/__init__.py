"""One file a corpus, found by its file name: `prepare(source, config, ledger)` yields its rows in any order."""
