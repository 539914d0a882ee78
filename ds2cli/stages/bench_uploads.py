"""Uploads for a server under test: `POST /v1/audio/transcriptions`, several at once."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import time
import wave
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from ds2cli.stages.bench_streams import REFUSED_WAIT_S, Clip, send_in_turn
from ds2cli.stages.bench_tally import Tally

BOUNDARY = "ds2-bench-boundary"
TIMEOUT_S = 600.0


class UploadLoad:
    """Clients that upload recordings one after another until they are stopped."""

    def __init__(
        self, url: str, clips: Sequence[Clip], *, seed: int = 0, headers: Mapping[str, str] | None = None
    ) -> None:
        """url: of the server, `http://…`."""
        self.url, self.clips, self.seed = urlsplit(url), clips, seed
        self.headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", **(headers or {})}
        self._bodies = [_multipart(clip) for clip in clips]
        self.tally = Tally()

    async def run(self, number: int, phase_s: float) -> None:
        """One upload after another, until this is cancelled; see `send_in_turn`."""

        async def send(i: int) -> float:
            return 0.0 if await self._upload(self.clips[i], self._bodies[i]) else REFUSED_WAIT_S

        await send_in_turn(send, len(self.clips), [self.seed, number], phase_s)

    async def _upload(self, clip: Clip, body: bytes) -> bool:
        """Upload one recording; whether its text came."""
        began = time.perf_counter()
        try:
            status, answer = await asyncio.to_thread(self._post, body)
        except (OSError, http.client.HTTPException) as e:
            self.tally.closed[type(e).__name__] += 1
            return False
        if status != 200:
            self.tally.refused[str(status)] += 1
            return False
        self.tally.end(clip.name, json.loads(answer)["text"], time.perf_counter() - began, clip.duration_s)
        return True

    def _post(self, body: bytes) -> tuple[int, bytes]:
        secure = self.url.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self.url.hostname or "", self.url.port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", "/v1/audio/transcriptions", body, self.headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def _multipart(clip: Clip) -> bytes:
    """The form with a WAV file, and with a name of a model that every server of this kind accepts."""
    wav = io.BytesIO()
    with wave.open(wav, "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(clip.rate)
        f.writeframes(clip.data)
    field = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    file = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="bench.wav"\r\n'
    head = f"{field}{file}Content-Type: audio/wav\r\n\r\n"
    return head.encode() + wav.getvalue() + f"\r\n--{BOUNDARY}--\r\n".encode()
