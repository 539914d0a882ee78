"""File name endings of recordings. They guide the search of a folder; how a file is read depends on its content."""

from __future__ import annotations


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


SNDFILE_SUFFIXES = _suffixes("aif aifc aiff au caf flac rf64 snd voc w64 wav wave")
"""Endings of formats that libsndfile reads, or that name their format in the first bytes."""

FFMPEG_SUFFIXES = _suffixes(
    "3g2 3gp 722 aa aac aax ac3 adts amr ape asf avi awb dff dsf dss dts eac3 ec3 f4v flv g722 g723_1 g729 gsm ircam "
    "latm m2a m2ts m4a m4b m4r m4v mk3d mka mkv mlp mov mp1 mp2 mp3 mp4 mpa mpc mpeg mpg mpga mts mxf nist nut oga ogg "
    "ogv oma opus paf pvf qoa ra rka rm rmvb sbc shn sln sox sph spx tak thd tta vob weba webm wma wmv wtv wv xa"
)
"""Endings of formats that FFmpeg reads, videos included."""

HEADERLESS_SUFFIXES = _suffixes("al alaw mulaw pcm raw sb sw ub ul ulaw uw vox")
"""Endings of samples without a header, whose sample rate and encoding are unknown."""

AUDIO_SUFFIXES = SNDFILE_SUFFIXES | FFMPEG_SUFFIXES | HEADERLESS_SUFFIXES
"""Endings of files that are meant as recordings: one that cannot be read is a bad utterance.

A file with any other ending is a recording if FFmpeg finds audio in it.
"""
