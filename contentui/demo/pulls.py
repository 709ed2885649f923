"""Real pulls for the demo, from a registry in this process over a slow, breaking link."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from contentui.content.digest import Digest
from contentui.content.errors import ContentError
from contentui.content.helpers import image_names
from contentui.demo.registry import Registry, Throttle
from contentui.demo.unpackable import make_unpackable

if TYPE_CHECKING:
    import random

    from contentui.content.store import Store
    from contentui.demo.unpackable import Unpackable

_NAMES = ("acme/billing:1.4", "acme/search:2.0.1", "tools/backup:2025.11", "acme/web:9")
_BYTES_S = 300_000
"""Bytes per second of each connection; a pull has several."""
_SIZES = (1_300_000, 4_200_000)
_REST_S = 3.0
"""Seconds between two pulls."""
_KEPT = 2
_PIECE = 8 * 1024
"""Bytes that the registry sends at once. Cuts so close to each other let the pauses grow."""


class Pulls:
    """Runs one ``contentui pull`` after another. Call `step` a few times a second."""

    def __init__(self, store: Store, root: str, rng: random.Random) -> None:
        self._store = store
        self._root = root
        self._random = rng
        self._throttle = Throttle(_BYTES_S)
        self._registry = Registry(self._throttle)
        self._number = 0
        self._pull: subprocess.Popen[bytes] | None = None
        self._next_s = 0.0
        self._done: list[tuple[str, Unpackable]] = []

    def open(self) -> None:
        """Start the registry."""
        self._registry.__enter__()

    def step(self) -> None:
        """Start the next pull `_REST_S` after the last one has ended."""
        if self._pull is not None and self._pull.poll() is not None:
            self._pull, self._next_s = None, time.monotonic() + _REST_S
            self._prune(_KEPT)
        if self._pull is None and time.monotonic() >= self._next_s:
            self._pull = self._start(self._next_image())

    def close(self) -> None:
        """Kill the pull and stop the registry."""
        if self._pull is not None:
            self._pull.kill()
            self._pull.wait()
        self._registry.close()

    def _next_image(self) -> str:
        sizes = [self._random.randint(*_SIZES) for _ in range(self._random.randint(4, 6))]
        image = make_unpackable(7_000 + self._number, sizes)
        name = _NAMES[self._number % len(_NAMES)]
        self._number += 1
        self._registry.blobs.clear()
        reference = self._registry.add(image, name)
        self._break(image)
        self._done.append((reference, image))
        return reference

    def _break(self, image: Unpackable) -> None:
        """Cut one layer once and another repeatedly, until a pause takes seconds."""
        sizes = {Digest.of(layer): len(layer) for layer in image.layers}
        once, often, *_ = sizes
        first = sizes[often] // 3
        self._throttle.cuts = {
            once: [sizes[once] // 2],
            often: [first + step * _PIECE for step in range(4)],
        }

    def _start(self, reference: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "contentui", "--store", self._root]
        command += ["pull", "--plain-http", "--progress=none", reference]
        nowhere = os.path.join(os.path.dirname(self._root), "no-credentials")
        env = {"DOCKER_CONFIG": nowhere, "REGISTRY_AUTH_FILE": nowhere, "NO_PROXY": "127.0.0.1"}
        return subprocess.Popen(
            command,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _prune(self, keep: int) -> None:
        """Keep disk usage bounded. Blobs that the user has deleted are skipped."""
        while len(self._done) > keep:
            reference, image = self._done.pop(0)
            with suppress(ContentError):
                image_names(self._store).delete(reference)
            for digest in (image.digest, *image.blobs):
                with suppress(ContentError):
                    self._store.delete(digest)
