"""A load of HTTP requests on loopback, one connection each, as browsers that meet a link make."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median, quantiles
from urllib.parse import urlsplit

BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36"
)


@dataclass
class Answers:
    """What came back: the number of each status, and seconds from connecting to the last byte."""

    seconds: float = 0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return sum(self.statuses.values()) / self.seconds

    @property
    def median_ms(self) -> float:
        return median(self.latencies) * 1000

    @property
    def p99_ms(self) -> float:
        return quantiles(self.latencies, n=100)[98] * 1000

    def add(self, other: Answers) -> None:
        self.seconds += other.seconds
        self.statuses += other.statuses
        self.latencies += other.latencies


def run(base: str, path: Callable[[int], str], clients: int, seconds: float) -> Answers:
    """`clients` threads ask `base` for `path(n)`, n counting up in each, for `seconds`."""
    address = (urlsplit(base).hostname or "", urlsplit(base).port or 80)
    answers = [Answers() for _ in range(clients)]
    begin = time.perf_counter()

    def client(mine: Answers) -> None:
        number = 0
        while time.perf_counter() - begin < seconds:
            start = time.perf_counter()
            status = _ask(address, path(number))
            mine.latencies.append(time.perf_counter() - start)
            mine.statuses[status] += 1
            number += 1

    threads = [threading.Thread(target=client, args=(mine,)) for mine in answers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = Answers()
    for mine in answers:
        total.add(mine)
    total.seconds = time.perf_counter() - begin
    return total


def _ask(address: tuple[str, int], path: str) -> int:
    request = f"GET {path} HTTP/1.1\r\nHost: {address[0]}\r\nUser-Agent: {BROWSER}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(request.encode())
        reply = b""
        while piece := connection.recv(65536):
            reply += piece
    return int(reply[9:12])
