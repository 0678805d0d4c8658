"""`python -m benchmarks.slow_server FOLDER [--milliseconds 5]`: serve files, each answer late.

It stands for a server as far away as its delay. Answers wait beside each other, as packets do on
their way, and connections stay open. It prints its port first, and serves until it is killed.
Files are kept in memory once they were asked for, so that it takes little of the processors.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

_RANGE = re.compile(rb"(?im)^range: *bytes=(\d+)-(\d*)\r?$")


def answer(folder: Path, request: bytes) -> bytes:
    """Return what is to be sent for the lines of a request."""
    method, target, _ = request.split(b"\r\n", 1)[0].split(b" ")
    try:
        data = _content(folder / unquote(target.decode()).lstrip("/"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    status, more = b"200 OK", b""
    asked = _RANGE.search(request)
    if asked is not None:
        first = int(asked[1])
        stop = min(int(asked[2]) + 1 if asked[2] else len(data), len(data))
        if first >= stop:
            return b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n"
        status = b"206 Partial Content"
        more = b"Content-Range: bytes %d-%d/%d\r\n" % (first, stop - 1, len(data))
        data = data[first:stop]
    head = b'HTTP/1.1 %s\r\nContent-Length: %d\r\nAccept-Ranges: bytes\r\nETag: "1"\r\n%s\r\n'
    return head % (status, len(data), more) + (b"" if method == b"HEAD" else data)


@cache
def _content(path: Path) -> bytes:
    return path.read_bytes()


async def serve(folder: Path, delay: float) -> None:
    """Answer until the process is killed."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(delay)
                writer.write(answer(folder, request))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()  # the client has gone

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--milliseconds", type=float, default=5, help="before each answer")
    asked = parser.parse_args()
    asyncio.run(serve(asked.folder, asked.milliseconds / 1000))


if __name__ == "__main__":
    main()
