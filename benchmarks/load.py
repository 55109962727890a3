"""What a server can do: requests that a run sent are sent again by many connections, as fast as answers come."""

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit


def answers_a_second(url: str, requests: Sequence[str], connections: int, seconds: float) -> float:
    """Return how many answers a second the server gives."""
    return asyncio.run(_measured(url, [request.encode("latin-1") for request in requests], connections, seconds))


async def _measured(url: str, requests: list[bytes], connections: int, seconds: float) -> float:
    endless = itertools.cycle(requests)
    started = time.perf_counter()
    counts = await asyncio.gather(*(_ask(url, endless, started + seconds) for _ in range(connections)))
    return sum(counts) / (time.perf_counter() - started)


async def _ask(url: str, requests: Iterator[bytes], until: float) -> int:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 20)
    count = 0
    while time.perf_counter() < until:
        writer.write(next(requests))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
        count += 1
    writer.close()
    await writer.wait_closed()
    return count
