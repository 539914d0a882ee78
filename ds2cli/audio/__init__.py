"""Audio: read files, resample, add noise and reverberation. Samples are float32 arrays."""
