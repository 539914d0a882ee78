"""Choose the settings of a training from what a manifest has, say what to expect, and whether a network has learned."""
