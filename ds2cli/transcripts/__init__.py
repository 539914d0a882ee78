"""Transcripts in the formats of other toolkits, read as rows and written: trn, ctm and stm (NIST), Kaldi's `text`."""
