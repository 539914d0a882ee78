"""Recurrent cells, and the recurrence over time in the native library, in torch and in cuDNN."""
