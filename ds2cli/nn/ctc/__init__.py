"""Connectionist temporal classification: the loss, its native and torch implementations, and a reference."""
