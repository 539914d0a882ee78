"""Error rates, their reports and plots."""
