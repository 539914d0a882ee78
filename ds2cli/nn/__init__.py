"""The network in torch: layers, models, CTC loss, recurrence, distributed training, weights files, inference."""
