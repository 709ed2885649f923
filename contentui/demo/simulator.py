"""The process that keeps the demo store active: it starts writers, commits images, injects faults.

It ends, with all its writers, when its standard input does: with the process that started it.
"""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from contentui.content.errors import ContentError, NotFound
from contentui.content.helpers import put_blob
from contentui.demo.content import layer_chunks, make_image
from contentui.demo.faults import all_faults
from contentui.demo.pulls import Pulls
from contentui.stores.open import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.demo.content import Image, Layer
    from contentui.demo.faults import Fault

_TICK_S = 0.25
_IMAGES_KEPT = 5
_MOVERS = 3
_FAULT_AGAIN_S = 20.0
_SETTLE_S = 5.0
_MB = 1_000_000


class Simulator:
    """Writers, pulls and faults in one demo store. Call `step` a few times a second."""

    def __init__(self, root: str, seed: int) -> None:
        self._store = open_store(root, create=True)
        self._root = root
        self._random = random.Random(seed)  # noqa: S311 - not for security
        self._image_number = 0
        self._uploads = 0
        self._queue: list[tuple[Layer, dict[str, str]]] = []
        self._images: list[Image] = []
        self._layers: dict[str, subprocess.Popen[bytes]] = {}
        self._others: dict[str, subprocess.Popen[bytes]] = {}
        self._faults = all_faults()
        self._pulls = Pulls(self._store, root, random.Random(seed))  # noqa: S311 - as above
        self._again: dict[str, float] = {}

    def open(self) -> None:
        """Commit the first images, and wait until the first faults look old."""
        self._pulls.open()
        self._start_faults()
        for _ in range(2):
            image = self._next_image(0.1)
            for layer in image.layers:
                chunks = layer_chunks(layer.seed, layer.size, layer.compression)
                put_blob(self._store, b"".join(chunks), labels=self._source_of(image))
            self._commit_documents(image)
        deadline = time.monotonic() + _SETTLE_S
        while not all(map(self._is_settled, self._faults)) and time.monotonic() < deadline:
            time.sleep(0.02)
        self._step()

    def step(self) -> None:
        """Start whatever has ended or was removed."""
        self._step()
        self._pulls.step()

    def _step(self) -> None:
        self._reap()
        self._pull()
        self._upload()
        self._start_faults()

    def close(self) -> None:
        """Kill all writers and the pull."""
        self._pulls.close()
        processes = [*self._layers.values(), *self._others.values()]
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()

    def _reap(self) -> None:
        for running in (self._layers, self._others):
            for name in [name for name, process in running.items() if process.poll() is not None]:
                del running[name]

    def _pull(self) -> None:
        """Ingest image after image: first its documents, then its layers, a few at a time."""
        while len(self._layers) < _MOVERS:
            if not self._queue:
                image = self._next_image(1.0)
                self._commit_documents(image)
                self._queue = [(layer, self._source_of(image)) for layer in image.layers]
                self._prune()
            layer, labels = self._queue.pop(0)
            arguments = [f"--expected={layer.digest}", f"--compression={layer.compression}"]
            arguments += [f"--label={key}={value}" for key, value in labels.items()]
            rate = self._random.choice((0.2, 0.4, 0.8, 1.5)) * _MB
            self._layers[layer.digest] = self._start(
                f"layer-{layer.digest}", layer.size, rate, layer.seed, arguments
            )

    def _next_image(self, scale: float) -> Image:
        count = self._random.randint(3, 5)
        sizes = [int(self._random.uniform(0.2, 6) * scale * _MB) for _ in range(count)]
        image = make_image(self._image_number, tuple(sizes))
        self._image_number += 1
        return image

    def _commit_documents(self, image: Image) -> None:
        for data, labels in image.documents:
            put_blob(self._store, data, labels=labels)
        self._images.append(image)

    def _source_of(self, image: Image) -> dict[str, str]:
        labels = image.documents[0][1]
        return {key: value for key, value in labels.items() if ".source." in key}

    def _prune(self) -> None:
        """Keep disk usage bounded. Blobs that the user has deleted are skipped."""
        while len(self._images) > _IMAGES_KEPT:
            for digest in self._images.pop(0).digests:
                with suppress(ContentError):
                    self._store.delete(digest)
        for info in self._store.walk(['labels."demo/upload"']):
            if time.time_ns() - info.committed_ns > 60_000_000_000:
                with suppress(ContentError):
                    self._store.delete(info.digest)

    def _upload(self) -> None:
        """Keep three uploads running: a fast one of unknown size, a small one and a trickle."""
        upload = ["--undeclared", "--label=demo/upload=1"]
        if "upload" not in self._others:
            self._others["upload"] = self._new_upload(6 * _MB, 0.5 * _MB, upload)
        if "small" not in self._others:
            size = self._random.randint(20_000, 400_000)
            self._others["small"] = self._new_upload(size, size / 3, ["--label=demo/upload=1"])
        if "trickle" not in self._others:
            self._others["trickle"] = self._new_upload(4 * _MB, 6_000, [])

    def _new_upload(self, size: int, rate: float, more: Sequence[str]) -> subprocess.Popen[bytes]:
        self._uploads += 1
        token = f"{self._random.getrandbits(48):012x}"
        return self._start(f"upload-{token}", size, rate, 10_000 + self._uploads, more)

    def _start_faults(self) -> None:
        """Start each fault, and again `_FAULT_AGAIN_S` after the user has removed it."""
        now = time.monotonic()
        for fault in self._faults:
            if fault.ref in self._others or self._exists(fault.ref):
                self._again[fault.ref] = now + _FAULT_AGAIN_S
            elif now >= self._again.get(fault.ref, 0):
                self._others[fault.ref] = self._start(
                    fault.ref, fault.size, 1000 * _MB, fault.seed, fault.arguments
                )

    def _is_settled(self, fault: Fault) -> bool:
        """Whether a fault looks as it should, so that the screen does not show its creation."""
        try:
            status = self._store.status(fault.ref)
        except NotFound:
            return False
        old = time.time_ns() - status.updated_ns > 60_000_000_000
        return bool(status.damage or status.refused) or old

    def _exists(self, ref: str) -> bool:
        try:
            self._store.status(ref)
        except NotFound:
            return False
        return True

    def _start(
        self, ref: str, size: int, rate: float, seed: int, more: Sequence[str]
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "contentui.demo.writer", self._root, ref]
        command += [f"--size={size}", f"--rate={rate}", f"--seed={seed}", *more]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


def main(argv: Sequence[str]) -> int:
    """``simulator.py FOLDER``: run in FOLDER/content until stdin ends, then remove FOLDER."""
    folder = argv[0]
    for signum in (signal.SIGINT, signal.SIGHUP):
        signal.signal(
            signum, signal.SIG_IGN
        )  # sent to the whole terminal; the parent closes the pipe instead
    simulator = Simulator(os.path.join(folder, "content"), seed=7)
    try:
        simulator.open()
        with open(os.path.join(folder, "ready"), "wb"):
            pass
        while not select.select([sys.stdin], [], [], _TICK_S)[0]:
            simulator.step()
    finally:
        simulator.close()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
