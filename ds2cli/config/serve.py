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

    host: str = setting("127.0.0.1", help="Address to listen on; 0.0.0.0 is every network of this machine.")
    port: int = setting(2700, help="Port to listen on; 0: any free one, which is printed.", min=0, max=65535)
    precision: Literal["stored", "float32", "bfloat16", "int8"] = setting(
        "stored", help="Precision of weights and products; stored is that of the file."
    )
    model_names: tuple[str, ...] = setting(
        (), help="Names under which clients of OpenAI's protocol find it [default: that of EXP, and whisper-1]."
    )
    language: str | None = setting(
        None, help="Language of the network, such as en [default: that of the bundle, else guessed by its symbols]."
    )
    nj: int = setting(0, help="Threads of the network, and as many of the search; 0: one for every two cores.", min=0)
    page: bool = setting(True, help="Serve the page with microphone and uploads at /.")
    token_file: str | None = setting(
        None, help="File with the tokens that clients must send, one per line [default: none needed]."
    )
    ssl_certfile: str | None = setting(None, help="TLS certificate (PEM, with its chain).")
    ssl_keyfile: str | None = setting(None, help="Key of the TLS certificate (PEM) [default: in --ssl-certfile].")
    cors_origins: tuple[str, ...] = setting(
        (), help="Origins of pages on other servers that may use this one, such as https://example.org."
    )
    allowed_hosts: tuple[str, ...] = setting(
        (), help="Names of this server that requests may use [default: those of --host, and localhost]."
    )
    max_streams: int = setting(0, help="Live streams at once; 0: half of what this machine is measured to do.", min=0)
    max_batch: int = setting(32, help="Streams computed at once; 1: one after another.", min=1, max=1024)
    max_delay: float = setting(
        0.5, help="Refuse new streams while audio waits for longer than this (s).", min=0.01, max=60
    )
    max_stream: float = setting(14400.0, help="Longest live stream (s).", min=1)
    max_uploads: int = setting(1, help="Recordings transcribed at once.", min=1, max=64)
    max_waiting: int = setting(16, help="Recordings that may wait for that; others are refused.", min=0)
    max_upload_mb: float = setting(100.0, help="Largest recording that may be uploaded (MB).", min=0.001)
    max_upload: float = setting(7200.0, help="Longest recording that may be uploaded (s).", min=1)
    max_connections: int = setting(512, help="Connections at once; others are closed.", min=1)
    max_requests: int = setting(1200, help="Requests and streams per minute of one address; 0: no limit.", min=0)
    idle: float = setting(30.0, help="End a connection on which nothing arrives for this long (s).", min=0.1)
    upload_timeout: float = setting(
        600.0, help="Time until the text of an uploaded recording must be there (s).", min=1
    )
    drain: float = setting(30.0, help="After SIGTERM: time for streams and uploads to come to their end (s).", min=0)
    log_texts: bool = setting(False, help="Write the recognized texts to the log, too.")
