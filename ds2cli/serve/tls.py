"""The TLS certificate of the server."""

from __future__ import annotations

import ssl
from pathlib import Path

from ds2cli.config.serve import ServeConfig
from ds2cli.errors import UsageError


class _EncryptedError(Exception):
    pass


def load_tls(config: ServeConfig) -> ssl.SSLContext | None:
    """TLS 1.2 or later with --ssl-certfile and --ssl-keyfile; None without. UsageError for files that do not fit."""
    if config.ssl_certfile is None:
        return None
    for option, path in (("--ssl-certfile", config.ssl_certfile), ("--ssl-keyfile", config.ssl_keyfile)):
        if path is not None:
            _check_pem(option, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    key = config.ssl_keyfile or config.ssl_certfile
    try:
        context.load_cert_chain(config.ssl_certfile, config.ssl_keyfile, password=_ask_nothing)
    except _EncryptedError:
        raise UsageError(f"{key}: the key is encrypted: decrypt it with openssl pkey -in {key} -out FILE") from None
    except ssl.SSLError as e:
        if e.reason == "KEY_VALUES_MISMATCH":
            raise UsageError(f"{key}: this key does not belong to the certificate {config.ssl_certfile}") from e
        raise UsageError(
            f"{config.ssl_certfile}: not a certificate with its key in PEM: {e.reason or e} "
            "(--ssl-certfile, --ssl-keyfile)"
        ) from e
    return context


def _check_pem(option: str, path: str) -> None:
    try:
        data = Path(path).read_bytes()
    except OSError as e:
        raise UsageError(f"{option} {path}: {e.strerror or e}") from e
    if b"-----BEGIN " not in data:
        raise UsageError(f"{option} {path}: not a PEM file (it has no line -----BEGIN …)")


def _ask_nothing() -> str:
    """OpenSSL would ask for a password at the terminal."""
    raise _EncryptedError
