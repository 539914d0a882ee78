"""Connections that are too many, slow or wrong; TLS."""

from __future__ import annotations

import json
import ssl
import subprocess
import time
import urllib.request

import pytest
from websockets.sync.client import connect

from ds2cli.config.base import build
from ds2cli.config.serve import ServeConfig
from ds2cli.errors import UsageError
from ds2cli.serve.tls import load_tls
from tests.serve.conftest import running_server, speech
from tests.serve.raw_socket import RawSocket


def test_connections_at_once(exp):
    with running_server(exp, "--max-connections", 5) as server:
        first = [RawSocket(server.port) for _ in range(5)]
        time.sleep(0.2)
        with RawSocket(server.port) as more:
            assert b" 503 " in more.read_all()
        for connection in first:
            connection.socket.close()
        time.sleep(0.2)
        assert server.metric('ds2_refused_total{code="too-many-connections"}') == 1
        assert server.metric("ds2_connections") == 1


def test_slow_and_wrong_requests(exp):
    with running_server(exp, "--idle", 1) as server:
        start = time.monotonic()
        slow = [RawSocket(server.port) for _ in range(4)]
        slow[1].send(b"GET / HT")
        slow[2].send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HT")
        slow[3].send(b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n0123")
        while time.monotonic() < start + 2.5:
            slow[0].send(b"")
            slow[1].send(b"x")
            time.sleep(0.2)
        answers = [connection.read_all() for connection in slow]
        for connection in slow:
            connection.socket.close()
        assert b" 408 " in answers[0] and b" 408 " in answers[1]
        assert answers[2].startswith(b"HTTP/1.1 200 ") and answers[3].startswith(b"HTTP/1.1 405 ")
        assert time.monotonic() < start + 10
        for data in WRONG_REQUESTS:
            with RawSocket(server.port) as connection:
                connection.send(data)
                answer = connection.read_all()
                statuses = [line.split()[1] for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
                assert len(statuses) == 1 and statuses[0] in (b"400", b"431", b"501", b"505"), (data[:80], answer)
        assert server.metric("ds2_connections") == 1
        assert server.get("/healthz") == "ok\n"


HEAD = b"POST /healthz HTTP/1.1\r\nHost: localhost\r\n"
WRONG_REQUESTS = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    HEAD + b"Content-Length: -5\r\n\r\nhello",
    HEAD + b"Content-Length: 5, 6\r\n\r\nhello",
    HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    HEAD + b"Transfer-Encoding: xchunked\r\n\r\n",
    HEAD + b"x" * 70_000,
    HEAD + b"x: " + b"y" * 70_000 + b"\r\n\r\n",
    b"GET /?" + b"y" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    HEAD + b"x\0y: z\r\n\r\n",
    HEAD + b"x: a\0b\r\n\r\n",
]  # fmt: skip


def test_ambiguous_lengths(server):
    """Where two servers would find different ends of a request (smuggling), one answer comes and nothing else."""
    for data in (
        HEAD + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nz\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;x=\n\r\n0\r\n\r\n",
    ):
        with RawSocket(server.port) as connection:
            connection.send(data + b"GET /info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = connection.read_all()
            assert b'"model"' not in answer, (data, answer)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate, its key, and another key."""
    folder = tmp_path_factory.mktemp("tls")
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    make += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    try:
        for name in ("server", "other"):
            files = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"]
            subprocess.run([*make, *files], check=True, capture_output=True)
        locked = ["-in", folder / "server.key", "-out", folder / "locked.key", "-aes256", "-passout", "pass:secret"]
        subprocess.run(["openssl", "pkey", *locked], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs the program openssl")
    return folder


def test_tls(exp, certificate):
    options = ["--ssl-certfile", certificate / "server.pem", "--ssl-keyfile", certificate / "server.key"]
    with running_server(exp, *options, "--idle", 2) as server:
        assert f"https://127.0.0.1:{server.port}" in server.log
        trusted = ssl.create_default_context(cafile=certificate / "server.pem")
        samples = speech(4)
        with connect(f"wss://localhost:{server.port}/stream", proxy=None, ssl=trusted) as ws:
            ws.send(samples.tobytes())
            ws.send('{"type": "finish"}')
            messages = [json.loads(message) for message in ws]
        assert messages[-1]["type"] == "end" and any(m.get("text") for m in messages)
        with urllib.request.urlopen(f"https://localhost:{server.port}/healthz", context=trusted) as response:
            assert response.read() == b"ok\n"
        # no TLS, and one that never completes
        with RawSocket(server.port) as plain:
            plain.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert not plain.read_all().startswith(b"HTTP/1.1 200")
        with RawSocket(server.port) as silent:
            start = time.monotonic()
            assert silent.read_all() == b"" and time.monotonic() - start < 8


def test_wrong_tls_files(certificate, tmp_path):
    def error(cert, key=None):
        with pytest.raises(UsageError) as e:
            load_tls(build(ServeConfig, ("test", {"ssl_certfile": str(cert), "ssl_keyfile": key and str(key)})))
        assert "\n" not in str(e.value)
        return str(e.value)

    cert, key = certificate / "server.pem", certificate / "server.key"
    no_pem = tmp_path / "x.pem"
    no_pem.write_bytes(b"\0\1\2")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert "No such file" in error(tmp_path / "missing.pem") and "Is a directory" in error(tmp_path)
    assert "PEM" in error(no_pem) and "PEM" in error(cert, no_pem) and "PEM" in error(broken, key)
    assert "does not belong to the certificate" in error(cert, certificate / "other.key")
    assert "--ssl-keyfile" in error(cert)
    assert "encrypted" in error(cert, certificate / "locked.key")
