"""Connectionist temporal classification: the loss, its native operator, and two references."""
