"""One frozen dataclass a stage: its defaults, units, bounds and help text. Nothing here imports torch."""
