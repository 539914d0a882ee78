"""Audio: files in, float32 samples out."""
