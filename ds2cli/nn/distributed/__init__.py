"""Data-parallel training: the process group and the all-reduce of gradients."""
