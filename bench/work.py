"""Fresh directories for each run, and everything else that a measurement leaves on disk."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(os.environ.get("CONTENTUI_BENCH_DIR") or Path(__file__).parent / ".work")
"""Where everything is made: needs 5 GiB, on the file system that is to be measured."""

PIECE = 1 << 20


class Work:
    """The measurement's own directory. Leaving its ``with`` block removes what it made."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.runs = root / f"runs-{os.getpid()}"
        self._count = 0
        self._short: list[Path] = []

    def __enter__(self) -> Work:
        self.runs.mkdir(parents=True)
        # ext4 avoids recently deleted inodes, which costs the next run in the same block group
        # up to 300 us a file; T spreads the directories below over the groups.
        subprocess.run(["chattr", "+T", str(self.runs)], check=False, capture_output=True)
        return self

    def __exit__(self, *exc: object) -> None:
        for path in (self.runs, *self._short):
            shutil.rmtree(path, ignore_errors=True)

    def fresh(self, name: str = "") -> Path:
        """A new empty directory."""
        self._count += 1
        path = self.runs / f"{self._count:04d}{name and '-' + name}"
        path.mkdir()
        return path

    def short(self) -> Path:
        """A new directory for a socket, whose path may have 107 bytes."""
        self._short.append(Path(tempfile.mkdtemp(prefix="cb-")))
        return self._short[-1]

    def drop(self, path: Path) -> None:
        """Remove a run with few but large files at once; small files wait for the end."""
        shutil.rmtree(path, ignore_errors=True)

    def random_file(self, name: str, size: int) -> Path:
        """A file of ``size`` bytes that nothing can compress, read once so that it is cached."""
        path = self.runs / name
        if not path.exists():
            with path.open("wb") as file:
                for _ in range(size // PIECE):
                    file.write(os.urandom(PIECE))
                file.flush()
                os.fsync(file.fileno())
        return path

    def small_files(self, name: str, count: int, size: int) -> Path:
        """A directory of ``count`` files of ``size`` bytes, all different."""
        path = self.runs / name
        if not path.exists():
            path.mkdir()
            seed = os.urandom(16)
            for index in range(count):
                data = hashlib.shake_128(seed + index.to_bytes(4, "big")).digest(size)
                (path / f"{index:06d}").write_bytes(data)
            os.sync()
        return path
