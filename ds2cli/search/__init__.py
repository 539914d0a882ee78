"""From emissions to text and word times: greedy and beam search, forced alignment, tuning, error attribution."""
