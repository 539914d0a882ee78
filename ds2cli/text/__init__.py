"""Text normalization and the output symbols of a network."""
