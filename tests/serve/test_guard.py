"""Who may use the server: hosts, origins, tokens, rates, connections, TLS."""

from __future__ import annotations

import base64
import fcntl
import json
import subprocess
import sys

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from ds2cli.config.base import build
from ds2cli.config.serve import ServeConfig
from ds2cli.errors import UsageError
from ds2cli.serve.limits import MAX_ADDRESSES, RateLimit
from ds2cli.serve.origins import Origins
from ds2cli.serve.tokens import Tokens, read_tokens
from tests.serve.conftest import ROOT, running_server, speech
from tests.serve.raw_socket import RawSocket, recognize

TOKEN = "correct-horse-battery-staple/+~"
PAGE = "https://app.example.org"


def request(port, path, headers=(), method="GET", body=b""):
    """Status, headers in lower case and body of a request by hand."""
    lines = [f"{method} {path} HTTP/1.1", "Connection: close", *headers]
    if not any(line.lower().startswith("host:") for line in headers):
        lines.append(f"Host: localhost:{port}")
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    with RawSocket(port) as connection:
        connection.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        head, body = connection.read_head(), connection.read_all()
    first, *rest = head.split("\r\n")
    return int(first.split()[1]), {k.lower(): v for k, _, v in (line.partition(": ") for line in rest)}, body.decode()


def refused_socket(url, **options):
    """Code, reason and message of a WebSocket that is refused."""
    with connect(url, proxy=None, **options) as ws:
        message = None
        try:
            message = json.loads(ws.recv())
            ws.recv()
        except ConnectionClosedError as e:
            return e.rcvd.code, e.rcvd.reason, message
    raise AssertionError("it was not refused")


@pytest.fixture(scope="module")
def guarded(exp, tmp_path_factory):
    """A server with a token and a page elsewhere that may use it."""
    file = tmp_path_factory.mktemp("tokens") / "tokens.txt"
    file.write_text(f"# of Alice\n\n{TOKEN}\nanother-token-of-bob\n")
    file.chmod(0o600)
    with running_server(exp, "--token-file", file, "--cors-origins", PAGE, "--max-requests", 0) as server:
        assert "warning" not in server.log
        yield server
    assert TOKEN not in server.log and "another-token" not in server.log


HOSTS = {
    "localhost": True, "localhost:80": True, "LOCALHOST": True, "localhost.": True, "127.0.0.1:2700": True,
    "[::1]": True, "[::1]:2700": True, "evil.example.org": False, "evil.example.org:2700": False,
    "127.0.0.1.example.org": False, "localhost.evil.org": False, "": False, "localhost:x": False,
    "user@localhost": False, "0": False,
}  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_host(server, host):
    status, _, body = request(server.port, "/healthz", [f"Host: {host}"])
    assert status == (200 if HOSTS[host] else 403)
    assert HOSTS[host] or "--allowed-hosts" in body


def test_host_of_a_websocket(server):
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    asked = ["Host: evil.example.org", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key]
    with RawSocket(server.port) as ws:
        ws.send("\r\n".join(["GET /stream HTTP/1.1", *asked]).encode() + b"\r\n\r\n")
        assert " 101 " in ws.read_head() and ws.read_frame().json["code"] == "wrong-host"
        assert ws.read_frame().code == 1008


def test_allowed_hosts():
    def allowed(host, *hosts, bound="127.0.0.1"):
        try:
            Origins(config(host=bound, allowed_hosts=hosts)).check_host(host)
        except Exception:
            return False
        return True

    assert allowed("speech.example.org:443", "speech.example.org") and not allowed("example.org", "speech.example.org")
    assert allowed("any.example.org", bound="0.0.0.0") and allowed("any.example.org", bound="192.0.2.1")
    assert allowed("a.example.org", "a.example.org", bound="0.0.0.0")
    assert not allowed("b.example.org", "a.example.org", bound="0.0.0.0")
    assert allowed("192.0.2.1", "a.example.org", bound="192.0.2.1")
    assert allowed("localhost", "a.example.org", bound="::") and allowed("[::1]", bound="::1")


def config(**settings):
    """The settings of a server."""
    return build(ServeConfig, ("test", settings))


@pytest.mark.parametrize("origin", ["null", "*", "example.org", "https://example.org/path", "ftp://example.org", ""])
def test_wrong_origins_in_the_settings(origin):
    with pytest.raises(UsageError, match="--cors-origins: expected an origin such as"):
        Origins(config(cors_origins=(origin,)))


def test_origin(guarded):
    own, other = f"http://localhost:{guarded.port}", "http://evil.example.org"
    bearer = f"Authorization: Bearer {TOKEN}"
    for origin, expected in {
        own: 404,
        PAGE: 404,
        PAGE.upper(): 404,
        other: 403,
        "null": 403,
        "http://localhost": 403,
    }.items():
        status, headers, body = request(guarded.port, "/nothing", [f"Origin: {origin}", bearer], "POST", b"x")
        assert status == expected, origin
        assert (headers.get("access-control-allow-origin") == origin) == (origin.lower() == PAGE)
        assert "Origin" in headers["vary"]
        assert expected != 403 or "--cors-origins" in body
    status, headers, _ = request(guarded.port, "/healthz", [f"Origin: {other}"])
    assert status == 200 and "access-control-allow-origin" not in headers
    status, _, _ = request(guarded.port, "/healthz", [f"Origin: {own}", f"Origin: {PAGE}"], "POST")
    assert status == 400


def test_preflight(guarded):
    asked = ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization"]
    status, headers, _ = request(guarded.port, "/v1/audio/transcriptions", [f"Origin: {PAGE}", *asked], "OPTIONS")
    assert status == 204 and headers["access-control-allow-origin"] == PAGE
    assert "POST" in headers["access-control-allow-methods"]
    assert "authorization" in headers["access-control-allow-headers"].lower()
    status, headers, _ = request(
        guarded.port, "/v1/audio/transcriptions", ["Origin: http://evil.org", *asked], "OPTIONS"
    )
    assert status == 403 and "access-control-allow-origin" not in headers


def test_origin_of_a_websocket(guarded):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for path in ("/stream", "/"):
        code, reason, message = refused_socket(
            guarded.ws + path, origin="http://evil.example.org", additional_headers=headers
        )
        assert code == 1008 and "--cors-origins" in reason
        assert (message is not None) == (path == "/stream")
    for origin in (PAGE, f"http://127.0.0.1:{guarded.port}"):
        with connect(guarded.ws + "/stream", proxy=None, origin=origin, additional_headers=headers) as ws:
            ws.send('{"type": "ping"}')
            assert json.loads(ws.recv()) == {"type": "pong"}


def test_token(guarded):
    for path in ("/metrics", "/v1/models", "/info", "/nothing"):
        status, headers, body = request(guarded.port, path)
        assert status == 401 and headers["www-authenticate"].startswith("Bearer")
        assert "Authorization: Bearer" in body
    for given in ("Bearer wrong", "Basic YTpi", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN, ""):
        assert request(guarded.port, "/metrics", [f"Authorization: {given}"])[0] == 401, given
    for given in (f"Bearer {TOKEN}", f"bearer  {TOKEN}", "Bearer another-token-of-bob"):
        assert request(guarded.port, "/metrics", [f"Authorization: {given}"])[0] == 200, given
    for path in ("/healthz", "/readyz", "/", "/page/main.js"):
        assert request(guarded.port, path)[0] == 200, path


def test_token_for_openai(guarded):
    _, _, body = request(guarded.port, "/v1/models", ["Authorization: Bearer wrong"])
    error = json.loads(body)["error"]
    assert error["code"] == "unauthorized" and error["type"] == "invalid_request_error" and "wrong" not in body.lower()


@pytest.mark.parametrize("path", ["/stream", "/"])
def test_token_of_a_websocket(guarded, path):
    code, reason, message = refused_socket(guarded.ws + path)
    assert code == 1008 and "token" in reason
    if path == "/stream":
        assert message["code"] == "unauthorized"
    name = "token." + base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("=")
    assert refused_socket(guarded.ws + path, subprotocols=["ds2", name + "AA"])[0] == 1008
    with connect(guarded.ws + "/stream", proxy=None, subprotocols=["ds2", name]) as ws:
        assert ws.subprotocol == "ds2"
        ws.send('{"type": "ping"}')
        assert json.loads(ws.recv()) == {"type": "pong"}


def test_token_files(tmp_path):
    warnings = []
    file = tmp_path / "tokens"

    def read(text):
        file.write_bytes(text)
        return read_tokens(str(file), warnings.append)

    for wrong in (b"", b"# only a comment\n\n", b"two words", "töken".encode(), b"\xff\xfe", b"x" * 513):
        with pytest.raises(UsageError, match="--token-file"):
            read(wrong)
    with pytest.raises(UsageError, match="No such file"):
        read_tokens(str(tmp_path / "missing"), warnings.append)
    with pytest.raises(UsageError, match="expected at most 1048576 bytes"):
        read_tokens("/dev/zero", warnings.append)
    assert not warnings
    file.chmod(0o644)
    read(b"0123456789abcdef")
    assert len(warnings) == 1 and "chmod 600" in warnings[0]
    file.chmod(0o600)
    assert read(b"short\r\n").accept("Bearer short", ()) and "guessed" in warnings[1]
    assert not Tokens(["a"]).accept(None, ["token.YQ=", "token.=", "token.ä", "token."])
    assert Tokens(["a"]).accept(None, ["token.YQ"])


def test_rate_limit():
    now = [0.0]
    rate = RateLimit(60, lambda: now[0])
    assert [rate.take("192.0.2.1") for _ in range(60)] == [0.0] * 60
    assert rate.take("192.0.2.1") == pytest.approx(1) and rate.take("192.0.2.2") == 0
    now[0] = 2.5
    assert [bool(rate.take("192.0.2.1")) for _ in range(3)] == [False, False, True]
    assert [bool(rate.take(f"2001:db8::{i:x}")) for i in range(61)] == [False] * 60 + [True]
    assert rate.take("2001:db8:0:1::1") == 0 and rate.take("::ffff:192.0.2.1") > 0
    for i in range(2 * MAX_ADDRESSES):
        rate.take(f"10.0.{i >> 8}.{i & 255}")
    assert len(rate._buckets) == MAX_ADDRESSES
    assert RateLimit(0).take("x") == 0


def test_rate_of_requests(exp):
    with running_server(exp, "--max-requests", 20) as server:
        found = [request(server.port, "/info", [f"X-Forwarded-For: 192.0.2.{i}"]) for i in range(25)]
        assert [status for status, _, _ in found] == [200] * 20 + [429] * 5
        assert 1 <= int(found[-1][1]["retry-after"]) <= 60 and "20 requests per minute" in found[-1][2]
        code, _, message = refused_socket(server.ws + "/stream")
        assert code == 1013 and message["retry_s"] >= 1
        assert request(server.port, "/healthz")[0] == request(server.port, "/readyz")[0] == 200
    assert server.log.count(" on /info: refused") == 6 - 1 and "192.0.2" not in server.log


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--token-file", "missing"], "No such file"),
        (["--cors-origins", "*"], "expected an origin"),
        (["--allowed-hosts", "http://x"], "expected a name"),
        (["--ssl-certfile", "missing.pem"], "No such file"),
    ],
)
def test_wrong_settings_end_at_once(exp, options, words):
    command = [sys.executable, "-m", "ds2cli", "serve", str(exp), "--port", "0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1


def test_warning_without_token(exp):
    with running_server(exp, "--host", "0.0.0.0") as server:
        assert "warning: everyone who can reach 0.0.0.0 can use this server: --token-file" in server.log


def test_log(exp):
    samples = speech(3)
    with running_server(exp) as server:
        texts = [text for text, _ in recognize(server.ws, samples)]
    assert any(texts) and not any(text in server.log for text in texts if text)
    assert server.log.count("\n") == 2 and "serve: stream: 3.0 s of audio\n" in server.log, server.log
    with running_server(exp, "--log-texts") as server:
        recognize(server.ws, samples)
    assert all(text in server.log for text in texts)


def test_a_log_that_is_not_read_stops_nothing(exp):
    with running_server(exp, "--max-requests", 0) as server:
        fcntl.fcntl(server.process.stderr, fcntl.F_SETPIPE_SZ, 4096)
        for _ in range(300):
            with RawSocket(server.port) as ws:
                ws.open("/stream", rest=b"\x81\x91" + bytes(4) + b'{"type": "start"}' + b"\x81\x92" + bytes(4))
                ws.send(b'{"type": "finish"}')
                ws.read_frame()
        assert server.get("/healthz") == "ok\n"
