"""What several commands share: options from a config, the filter loop, progress of training and tuning."""
