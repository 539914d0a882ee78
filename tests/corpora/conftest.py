"""A web server for downloads, with the faults of real ones, and the archives that it has."""

import hashlib
import io
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ds2cli.corpora import _http


class Site:
    """What a server has, and how it behaves. requests: (path, Range header) of each request.

    cut_at: bytes after which each connection is lost; statuses: answered before anything else; delay_s: before each
    block; stall: send nothing after the headers.
    """

    block = 4096

    def __init__(self):
        self.files = {}
        self.etags = {}
        self.requests = []
        self.statuses = []
        self.cut_at = None
        self.ignores_ranges = False
        self.chunked = False
        self.delay_s = 0.0
        self.stall = False
        self.on_block = lambda sent: None
        self.address = ""

    def put(self, path, data, etag=None):
        self.files[f"/{path}"] = data
        self.etags[f"/{path}"] = etag or f'"{hashlib.md5(data).hexdigest()[:8]}"'
        return hashlib.md5(data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        site = self.server.site
        site.requests.append((self.path, self.headers.get("Range")))
        if site.statuses:
            self.send_error(site.statuses.pop(0))
            return
        data = site.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        etag, start = site.etags[self.path], 0
        wants = self.headers.get("Range")
        if wants and not site.ignores_ranges and self.headers.get("If-Range", etag) == etag:
            start = int(wants.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("ETag", etag)
        if site.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        sent = 0
        while start + sent < len(data):
            while site.stall and not self.server.closing:
                time.sleep(0.01)
            size = min(site.block, len(data) - start - sent, (site.cut_at or len(data)) - sent)
            if size <= 0:
                self.close_connection = True
                return
            time.sleep(site.delay_s)
            block = data[start + sent : start + sent + size]
            self.wfile.write(b"%x\r\n%s\r\n" % (size, block) if site.chunked else block)
            self.wfile.flush()
            sent += size
            site.on_block(sent)
        if site.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


@pytest.fixture
def site(monkeypatch):
    """A server on this machine, with short pauses between connections."""
    monkeypatch.setattr(_http, "WAITS_S", (0.0, 0.0, 0.0))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    # connections that the tests cut are no errors
    server.handle_error = lambda *_: None
    server.site, server.closing = Site(), False
    server.site.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server.site
    server.closing = True
    server.shutdown()
    server.server_close()


@pytest.fixture
def packed():
    """Functions by the kind of archive that pack {name: bytes, or path of a file} and return its bytes."""

    def tar(files, mode="w:gz"):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=mode) as packed:
            for name, content in files.items():
                data = content.read_bytes() if isinstance(content, Path) else content
                info = tarfile.TarInfo(name)
                info.size = len(data)
                packed.addfile(info, io.BytesIO(data))
        return out.getvalue()

    def zipped(files):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as packed:
            for name, content in files.items():
                packed.writestr(name, content.read_bytes() if isinstance(content, Path) else content)
        return out.getvalue()

    return {"tar": tar, "zip": zipped}
