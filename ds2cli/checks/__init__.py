"""Checks of manifests: of the form of rows, texts, recordings, features, across rows, and of what CTC can align.

Each check returns what it finds as pairs (kind, detail); `faults.KINDS` has the kinds, and `stages/data_validate.py`
runs the checks.
"""
