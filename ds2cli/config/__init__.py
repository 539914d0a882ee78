"""The settings of each stage as a frozen dataclass: defaults, units, bounds, help. Nothing here imports torch."""
