"""Print the text of live audio: 16-bit samples of one channel on standard input go to `ds2 serve` over /stream.

arecord -f S16_LE -r 16000 -t raw | python3 utils/serve/stream_client.py ws://127.0.0.1:2700/stream
"""

import contextlib
import json
import signal
import sys
import threading

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

RATE = 16000


def send(socket: ClientConnection) -> None:
    """Send what comes in pieces of 0.1 s, then the end."""
    # if the server closes the connection, its last message has said why
    with contextlib.suppress(ConnectionClosed):
        socket.send(json.dumps({"type": "start", "sample_rate": RATE}))
        while samples := sys.stdin.buffer.read(RATE // 10 * 2):
            socket.send(samples)
        socket.send(json.dumps({"type": "finish"}))


# Ctrl-C ends arecord; the last text still comes
signal.signal(signal.SIGINT, signal.SIG_IGN)
with connect(sys.argv[1]) as socket:
    threading.Thread(target=send, args=(socket,), daemon=True).start()
    for message in map(json.loads, socket):
        if message["type"] == "final":
            sys.stdout.write(f"{message['text']}\n")
            sys.stdout.flush()
        elif message["type"] == "error":
            sys.exit(message["message"])
