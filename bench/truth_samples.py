"""Sizes of files over time, sampled by stat(2): the true offsets and rates of ingests."""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_STEP_S = 0.01


class Samples:
    """Samples the sizes of files a hundred times a second, in a thread, within ``with``."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._seen: list[list[tuple[float, int]]] = [[] for _ in paths]
        """When each file was seen to grow, and its size then."""
        self._ended: dict[Path, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            now = time.monotonic()
            for path, seen in zip(self._paths, self._seen, strict=True):
                try:
                    size = os.stat(path).st_size
                except FileNotFoundError:
                    self._ended.setdefault(path, now)
                    continue
                if not seen or size != seen[-1][1]:
                    seen.append((now, size))
            time.sleep(_STEP_S)

    def sizes(self) -> list[int]:
        """The sizes now."""
        return [os.stat(path).st_size for path in self._paths]

    def await_growth(self) -> float:
        """When all have grown, by the monotonic clock."""
        while not all(len(seen) >= 2 for seen in self._seen):
            time.sleep(_STEP_S)
        return max(seen[1][0] for seen in self._seen)

    def rates(self, window_s: float) -> list[float]:
        """Bytes per second of each, between its growths of the last ``window_s`` seconds."""
        now = time.monotonic()
        found = []
        for seen in self._seen:
            some = seen[bisect_left(seen, (now - window_s, 0)) :]
            (first_at, first), (last_at, last) = some[0], some[-1]
            found.append((last - first) / (last_at - first_at))
        return found

    def ends(self, paths: Mapping[str, Path]) -> dict[str, float]:
        """When each file had all its bytes: its last growth before it became a blob."""
        while len(self._ended) < len(self._paths):
            time.sleep(_STEP_S)
        last = {path: seen[-1][0] for path, seen in zip(self._paths, self._seen, strict=True)}
        return {name: last[path] for name, path in paths.items()}
