"""n-gram language models: text to counts, counts to a Kneser-Ney model, ARPA files, queries."""
