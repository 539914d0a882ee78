"""Transcripts: how text is cleaned, and which symbols the network writes."""
