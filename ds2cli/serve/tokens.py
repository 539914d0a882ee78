"""The tokens that clients send if the server has a `--token-file`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from ds2cli.errors import UsageError

SUBPROTOCOL_PREFIX = "token."
"""A browser sends no headers of its choice with a WebSocket, but subprotocols: `token.` and the token in base64url."""

MAX_FILE = 1 << 20
"""Largest file of tokens (bytes)."""

_TOKEN = re.compile(r"[!-~]{1,512}")
_BEARER = re.compile(r"Bearer +([!-~]{1,512}) *", re.IGNORECASE)


class Tokens:
    """The tokens that are accepted; only their hashes are kept."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._hashes = [_hash(token.encode()) for token in tokens]

    def accept(self, authorization: str | None, subprotocols: Sequence[str]) -> bool:
        """Whether a request has one of them: `Authorization: Bearer T`, or a subprotocol of WebSocket."""
        given = [] if authorization is None else [m[1].encode() for m in [_BEARER.fullmatch(authorization)] if m]
        given += [token for name in subprotocols if (token := _decode(name)) is not None]
        return any(self._contains(token) for token in given)

    def _contains(self, token: bytes) -> bool:
        hashed, found = _hash(token), False
        for known in self._hashes:
            # compare all of them: the time must not show which one matches
            found |= hmac.compare_digest(hashed, known)
        return found


def read_tokens(path: str, warn: Callable[[str], None]) -> Tokens:
    """The tokens of a file, one per line; lines that begin with # are comments. UsageError if there are none."""
    try:
        mode = Path(path).stat().st_mode
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE + 1)
        text = data.decode("utf-8-sig")
    except OSError as e:
        raise UsageError(f"--token-file {path}: {e.strerror or e}") from e
    except UnicodeDecodeError as e:
        raise UsageError(f"--token-file {path}: expected a text file in UTF-8, one token per line") from e
    if len(data) > MAX_FILE:
        raise UsageError(f"--token-file {path}: expected at most {MAX_FILE} bytes: is this the file of tokens?")
    tokens = list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        token = line.strip()
        if not token or token.startswith("#"):
            continue
        if not _TOKEN.fullmatch(token):
            raise UsageError(
                f"--token-file {path}:{number}: expected one token of up to 512 ASCII characters without spaces"
            )
        tokens.append(token)
    if not tokens:
        raise UsageError(f"--token-file {path}: it has no token (openssl rand -hex 32 >> {path})")
    if stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
        warn(f"--token-file {path}: other users of this machine can read it (chmod 600 {path})")
    if (shortest := min(map(len, tokens))) < 16:
        warn(f"--token-file {path}: a token has {shortest} characters, which can be guessed (openssl rand -hex 32)")
    return Tokens(tokens)


def _decode(subprotocol: str) -> bytes | None:
    text = subprotocol.removeprefix(SUBPROTOCOL_PREFIX)
    if not subprotocol.startswith(SUBPROTOCOL_PREFIX) or "=" in text:
        return None
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None


def _hash(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
