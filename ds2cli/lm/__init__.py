"""N-gram language models: counting, Kneser-Ney estimation, ARPA and KenLM files, queries, interpolation."""
