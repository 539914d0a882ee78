"""From emissions to text and times: greedy, prefix beam search, alignment, tuning."""
