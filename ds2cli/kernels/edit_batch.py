"""Replaced by `edit`."""

from ds2cli.kernels.edit import DEL, HIT, INS, SUB  # noqa: F401
