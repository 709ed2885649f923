"""A recorder of what a store asks of the file system, and what a power cut may leave of it.

The model is POSIX's at its worst: a file's content is durable after fsync of the file, an entry
of a directory after fsync of that directory, and nothing else is. sqlite's own calls are not
seen; its file counts as durable whenever it has changed (`test_strace.py` watches it sync).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from contentui.stores import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MODES = ("dropped", "kept", "zeros")
"""Unsynced entries dropped; or kept, with unsynced content missing; or kept, with zeros in it."""


@dataclass(eq=False)
class Node:
    """A file or directory, as it is and as the disk surely has it."""

    is_dir: bool
    label: str = ""
    mode: int = 0o644
    content: bytes = b""
    synced: bytes = b""
    entries: dict[str, Node] = field(default_factory=dict)
    synced_entries: dict[str, Node] = field(default_factory=dict)

    def reset(self) -> None:
        self.content = self.synced = b""
        self.entries, self.synced_entries = {}, {}


@dataclass
class Step:
    """One change; ``site`` names a sync by the phase and what is synced."""

    do: Callable[[], None]
    what: str
    site: tuple[str, str] | None = None
    ack: Any = None


class Recorder:
    """Wraps the operating system while `recording`, and keeps what was changed as `steps`."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.root = Node(True, "base")
        self.steps: list[Step] = []
        self.phase = ""
        self.nodes = [self.root]
        self._by_inode = {self._inode(os.stat(base)): self.root}
        self._database: Any = None
        self._real: dict[str, Any] = {}

    def acknowledge(self, fact: Any) -> None:
        self._look_at_database()
        self.steps.append(Step(lambda: None, "acknowledged", ack=fact))

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        wrapped = [name[5:] for name in dir(type(self)) if name.startswith("_sys_")]
        self._real = {name: getattr(os, name) for name in wrapped}
        rename = files._rename_noreplace
        for name in wrapped:
            setattr(os, name, getattr(self, "_sys_" + name))
        files._rename_noreplace = self._rename_noreplace(rename)
        try:
            yield
        finally:
            for name, real in self._real.items():
                setattr(os, name, real)
            files._rename_noreplace = rename

    # -- what is what

    @staticmethod
    def _inode(found: os.stat_result) -> tuple[int, int]:
        return found.st_dev, found.st_ino

    def _node(self, fd: int) -> Node | None:
        return self._by_inode.get(self._inode(os.fstat(fd)))

    def _parent(self, path: Any, dir_fd: int | None) -> tuple[Node, str] | None:
        path = os.fsdecode(path)
        above = os.path.dirname(path) or "."
        found = os.stat(above, dir_fd=dir_fd) if not os.path.isabs(path) else os.stat(above)
        node = self._by_inode.get(self._inode(found))
        return None if node is None else (node, os.path.basename(path))

    def _new(self, found: os.stat_result, label: str) -> Node:
        node = Node(stat.S_ISDIR(found.st_mode), label, stat.S_IMODE(found.st_mode))
        self._by_inode[self._inode(found)] = node
        self.nodes.append(node)
        return node

    def _step(self, do: Callable[[], None], what: str, site: Any = None) -> None:
        self.steps.append(Step(do, what, site))

    def _look_at_database(self) -> None:
        """Take over what sqlite did to its file since the last look."""
        for node in self.nodes:
            if node.label != ".contentui":
                continue
            path = os.path.join(self.base, "above", "store", ".contentui", "labels.db")
            try:
                found = os.stat(path)
            except OSError:
                return
            now = (found.st_ino, found.st_size, found.st_mtime_ns)
            if now != self._database:
                self._database = now
                real_open = self._real.get("open", os.open)
                fd = real_open(path, os.O_RDONLY)
                content = os.read(fd, 1 << 24)
                os.close(fd)
                self._step(lambda n=node, c=content: _set_database(n, c), "sqlite")

    # -- the calls

    def _sys_open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: Any = None) -> int:
        self._look_at_database()
        creates = bool(flags & os.O_CREAT)
        existed = True
        if creates:
            try:
                os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
            except OSError:
                existed = False
        fd: int = self._real["open"](path, flags, mode, dir_fd=dir_fd)
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            self._new(os.fstat(fd), "unnamed")
        elif creates and not existed:
            place = self._parent(path, dir_fd)
            if place is not None:
                above, name = place
                node = self._new(os.fstat(fd), name)
                self._step(lambda: above.entries.__setitem__(name, node), f"create {name}")
        elif flags & os.O_TRUNC and (old := self._node(fd)) is not None:
            self._step(lambda: setattr(old, "content", b""), f"empty {old.label}")
        return fd

    def _sys_mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: Any = None) -> None:
        self._real["mkdir"](path, mode, dir_fd=dir_fd)
        place = self._parent(path, dir_fd)
        if place is not None:
            above, name = place
            label = "ingest/*" if above.label == "ingest" else name
            node = self._new(os.stat(path, dir_fd=dir_fd), label)
            self._step(lambda: above.entries.__setitem__(name, node), f"mkdir {name}")

    def _sys_write(self, fd: int, data: Any) -> int:
        node = self._node(fd)
        at = os.lseek(fd, 0, os.SEEK_CUR) if node is not None else 0
        count: int = self._real["write"](fd, data)
        if node is not None:
            self._write(node, at, bytes(data[:count]))
        return count

    def _sys_pwrite(self, fd: int, data: Any, offset: int) -> int:
        count: int = self._real["pwrite"](fd, data, offset)
        node = self._node(fd)
        if node is not None:
            self._write(node, offset, bytes(data[:count]))
        return count

    def _sys_copy_file_range(
        self, src: int, dst: int, count: int, offset_src: Any = None, offset_dst: Any = None
    ) -> int:
        done: int = self._real["copy_file_range"](src, dst, count, offset_src, offset_dst)
        node = self._node(dst)
        if node is not None:
            self._write(node, offset_dst, os.pread(dst, done, offset_dst))
        return done

    def _write(self, node: Node, at: int, data: bytes) -> None:
        def do() -> None:
            old = node.content.ljust(at, b"\0")
            node.content = old[:at] + data + old[at + len(data) :]

        self._step(do, f"write {node.label}")

    def _sys_ftruncate(self, fd: int, size: int) -> None:
        self._real["ftruncate"](fd, size)
        node = self._node(fd)
        if node is not None:
            self._step(
                lambda: setattr(node, "content", node.content[:size].ljust(size, b"\0")), "truncate"
            )

    def _sys_fchmod(self, fd: int, mode: int) -> None:
        self._real["fchmod"](fd, mode)
        node = self._node(fd)
        if node is not None:
            self._step(lambda: setattr(node, "mode", stat.S_IMODE(mode)), "chmod")

    def _sys_link(self, src: Any, dst: Any, **more: Any) -> None:
        found = os.stat(src, dir_fd=more.get("src_dir_fd"))
        self._real["link"](src, dst, **more)
        place = self._parent(dst, more.get("dst_dir_fd"))
        if place is not None:
            above, name = place
            node = self._by_inode[self._inode(found)]
            self._step(lambda: above.entries.__setitem__(name, node), f"link {name}")

    def _sys_unlink(self, path: Any, *, dir_fd: Any = None) -> None:
        place = self._parent(path, dir_fd)
        self._real["unlink"](path, dir_fd=dir_fd)
        if place is not None:
            above, name = place
            self._step(lambda: above.entries.pop(name, None) and None, f"unlink {name}")

    def _sys_rmdir(self, path: Any, *, dir_fd: Any = None) -> None:
        place = self._parent(path, dir_fd)
        self._real["rmdir"](path, dir_fd=dir_fd)
        if place is not None:
            above, name = place
            self._step(lambda: above.entries.pop(name, None) and None, f"rmdir {name}")

    def _sys_rename(
        self, src: Any, dst: Any, *, src_dir_fd: Any = None, dst_dir_fd: Any = None
    ) -> None:
        self._look_at_database()
        old, new = self._parent(src, src_dir_fd), self._parent(dst, dst_dir_fd)
        found = os.stat(src, dir_fd=src_dir_fd)
        self._real["rename"](src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        if old is not None and new is not None:
            self._renamed(old, new, found)

    def _rename_noreplace(self, real: Any) -> Any:
        def rename_noreplace(src: str, src_fd: int, dst: str, dst_fd: int) -> int:
            old, new = self._parent(src, src_fd), self._parent(dst, dst_fd)
            found = None
            with contextlib.suppress(OSError):
                found = os.stat(src, dir_fd=src_fd)
            code: int = real(src, src_fd, dst, dst_fd)
            if code == 0 and old is not None and new is not None and found is not None:
                self._renamed(old, new, found)
            return code

        return rename_noreplace

    def _renamed(self, old: tuple[Node, str], new: tuple[Node, str], found: os.stat_result) -> None:
        node = self._by_inode.get(self._inode(found)) or self._new(found, new[1])

        def do() -> None:
            old[0].entries.pop(old[1], None)
            new[0].entries[new[1]] = node

        self._step(do, f"rename {old[1]} {new[1]}")

    def _sys_fsync(self, fd: int) -> None:
        self._real["fsync"](fd)
        node = self._node(fd)
        if node is None:
            return
        self._look_at_database()

        def do() -> None:
            node.synced = node.content
            node.synced_entries = dict(node.entries)

        kind = "directory" if node.is_dir else "file"
        self._step(do, f"fsync {node.label}", (self.phase, f"{kind} {node.label}"))


def _set_database(directory: Node, content: bytes) -> None:
    node = directory.entries.get("labels.db")
    if node is None:
        node = Node(False, "labels.db")
        directory.entries["labels.db"] = node
    node.content = node.synced = content


def cuts(
    recorder: Recorder, without: Iterable[tuple[str, str]] = ()
) -> Iterator[tuple[int, list[Any]]]:
    """Power off after each step: its number, and what had been acknowledged by then.

    The nodes then are in that moment's state; syncs at a site in ``without`` don't happen.
    """
    skipped = set(without)
    for node in recorder.nodes:
        node.reset()
    acknowledged: list[Any] = []
    for number, step in enumerate(recorder.steps):
        if step.site not in skipped:
            step.do()
        if step.ack is not None:
            acknowledged.append(step.ack)
        yield number, acknowledged


def left(node: Node, mode: str) -> Any:
    """What the disk has after the cut: nested dicts of (node, bytes, mode)."""
    if node.is_dir:
        entries = node.synced_entries if mode == "dropped" else node.entries
        return {name: left(entry, mode) for name, entry in sorted(entries.items())}
    content = node.synced
    if mode == "zeros" and node.content != node.synced:
        pairs = zip(node.content, node.synced, strict=False)
        common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        content = node.content[:common] + bytes(len(node.content) - common)
    return (id(node), content, node.mode)


def build(tree: Any, path: str, made: dict[int, str] | None = None) -> None:
    """Make the tree real, one node with two names as hard links."""
    made = {} if made is None else made
    os.mkdir(path)
    for name, entry in tree.items():
        place = os.path.join(path, name)
        if isinstance(entry, dict):
            build(entry, place, made)
        elif entry[0] in made:
            os.link(made[entry[0]], place)
        else:
            with open(place, "wb") as file:
                file.write(entry[1])
                os.fchmod(file.fileno(), entry[2])
            made[entry[0]] = place
