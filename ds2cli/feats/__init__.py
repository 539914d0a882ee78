"""Features: arrays of samples in, arrays of frames out."""
