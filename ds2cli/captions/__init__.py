"""Word times in the formats of other programs: one file per format, pure functions from words to text.

A word is an element of a row's `words` or `pred_words`: `word`, `start` and `end` (s), and `conf` if it has one. Times
are those of the row's own audio; where a format has them in the longer recording, its functions take an offset.
"""
