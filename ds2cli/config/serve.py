"""Settings of `ds2 serve`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ds2cli.config.base import setting
from ds2cli.config.decode import SearchSettings
from ds2cli.config.endpoint import EndpointConfig


@dataclass(frozen=True, kw_only=True)
class ServeConfig(SearchSettings, EndpointConfig):
    """Serve a network to programs and browsers: live streams and uploaded recordings."""

    no_effect: ClassVar = {
        **SearchSettings.no_effect,
        "ssl_keyfile": ("ssl_certfile", (None,)),
    }

    host: str = setting("127.0.0.1", help="Address to listen on; 0.0.0.0: all networks of this machine.")
    port: int = setting(2700, help="Port to listen on; 0: any free port, which is printed.", min=0, max=65535)
    precision: Literal["stored", "float32", "bfloat16", "int8"] = setting(
        "stored", help="Precision of weights and products; stored: as in the file."
    )
    model_names: tuple[str, ...] = setting(
        (), help="Model names for clients of OpenAI's protocol [default: the name of EXP, and whisper-1]."
    )
    language: str | None = setting(
        None, help="Language of the network, such as en [default: from the bundle, or guessed from the symbols]."
    )
    nj: int = setting(0, help="Threads for the network, and as many for the search; 0: one per two cores.", min=0)
    page: bool = setting(True, help="Serve the page with microphone and uploads at /.")
    token_file: str | None = setting(
        None, help="File of tokens, one per line, one of which clients must send [default: no token needed]."
    )
    ssl_certfile: str | None = setting(None, help="TLS certificate (PEM, including the chain).")
    ssl_keyfile: str | None = setting(None, help="Private key of the certificate (PEM) [default: in --ssl-certfile].")
    cors_origins: tuple[str, ...] = setting(
        (), help="Other servers whose web pages may use this one, such as https://example.org."
    )
    allowed_hosts: tuple[str, ...] = setting(
        (), help="Host names by which requests may address this server [default: --host and localhost]."
    )
    max_streams: int = setting(0, help="Live streams at once; 0: 40 % of what this machine is measured to do.", min=0)
    max_batch: int = setting(32, help="Largest batch: streams computed at once; 1: one after another.", min=1, max=1024)
    max_delay: float = setting(
        0.5, help="Refuse new streams while audio has waited for longer than this (s).", min=0.01, max=60
    )
    max_stream: float = setting(14400.0, help="Longest live stream (s).", min=1)
    max_uploads: int = setting(1, help="Uploaded recordings transcribed at once.", min=1, max=64)
    max_waiting: int = setting(16, help="Uploaded recordings that may wait for their turn; more are refused.", min=0)
    max_upload_mb: float = setting(100.0, help="Largest upload (MB).", min=0.001)
    max_upload: float = setting(7200.0, help="Longest uploaded recording (s).", min=1, max=604_800)
    max_connections: int = setting(512, help="Connections at once; more are refused.", min=1)
    max_requests: int = setting(1200, help="Requests and streams per minute and client address; 0: no limit.", min=0)
    idle: float = setting(30.0, help="Close a connection on which nothing arrives for this long (s).", min=0.1)
    upload_timeout: float = setting(
        600.0, help="Time limit of an upload, from its first byte to its text (s).", min=1, max=604_800
    )
    drain: float = setting(30.0, help="After SIGTERM, time for streams and uploads to finish (s).", min=0)
    log_texts: bool = setting(False, help="Also write the recognized texts to the log.")
