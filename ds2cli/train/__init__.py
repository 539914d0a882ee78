"""Training: data, batches, the training loop, checkpoints."""
