"""The network: layers, models, loss, batches, the training loop and checkpoints (torch)."""
