"""Recurrent cells and the recurrence over time: native, torch, cuDNN."""
