"""Features: samples in, matrices of frames out."""
