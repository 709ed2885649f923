"""What the dashboard would show of a real containerd, next to what is true.

``python -m bench.truth [--write]``. The shown values come from the monitor, the planner and the
columns that the dashboard uses. The true ones come from stat(2), /proc, ``ctr`` and a listing of
the blob directory, and from no code of contentui.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.peers import Containerd
from bench.truth_plans import lost_rows
from bench.truth_row import Row
from bench.truth_samples import Samples
from contentui.content.digest import Digest
from contentui.content.model import ingest_id
from contentui.demo.registry import Registry, Throttle
from contentui.demo.unpackable import make_unpackable
from contentui.monitor.monitor import Monitor
from contentui.monitor.rates import GROWTH_WINDOW_S
from contentui.monitor.states import Thresholds
from contentui.present.texts import count_text
from contentui.stores.local.store import LocalStore
from contentui.stores.open import open_store
from contentui.text import holder_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from contentui.monitor.model import IngestRow, StoreView

DOCUMENT = Path(__file__).parents[1] / "docs" / "monitor.md"
BEGIN, END = "<!-- truth table -->", "<!-- end of truth table -->"
MB = 1_000_000
RATE = 2 * MB
"""Bytes per second of each connection of the slow link."""
STALLED_S = 15.0
"""Silence that counts as stalled here: two minutes would make this take ten."""
TICK_S = 0.25
"""How often the dashboard reads the store."""
CLOSE = 0.05
"""The share by which a rate or a time may differ on an idle machine."""


def close(shown: float | None, true: float, share: float, tolerance: float = 0.0) -> bool:
    """Whether a shown number differs by at most that share, or by ``tolerance``."""
    return shown is not None and abs(shown - true) <= max(share * abs(true), tolerance)


class Node:
    """A containerd, a registry behind a slow link, and a monitor of that containerd's socket."""

    def __init__(self, daemon: Containerd, registry: Registry, share: float) -> None:
        self.daemon = daemon
        self.share = share
        """By which a rate or a time may differ from the true one."""
        self.link = registry.throttle
        self.image = make_unpackable(5, [60 * MB, 70 * MB])
        self.name = registry.add(self.image, "demo/app:latest")
        self.store = open_store(f"unix://{daemon.socket}?namespace=default")
        self.monitor = Monitor(self.store, thresholds=Thresholds(stalled_after_s=STALLED_S))
        self.refs = {f"layer-{Digest.of(layer)}": len(layer) for layer in self.image.layers}
        self.view: StoreView = self.monitor.tick()

    def data(self, ref: str) -> Path:
        """The file with an ingest's bytes."""
        return self.daemon.content / "ingest" / ingest_id(f"default/1/{ref}") / "data"

    def pull(self) -> subprocess.Popen[bytes]:
        argv = self.daemon.ctr(
            "images", "pull", "--plain-http", "--snapshotter", "native", self.name
        )
        return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def watch(self, seconds: float, until: Callable[[], bool] = lambda: False) -> StoreView:
        """Tick as the dashboard does, for so long or until something holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.view = self.monitor.tick()
            if until():
                break
            time.sleep(min(TICK_S, self.monitor.next_tick_s or TICK_S))
        return self.view

    def rows(self) -> dict[str, IngestRow]:
        return {row.status.ref: row for row in self.view.ingests if row.status.ref in self.refs}

    def states(self) -> str:
        return " ".join(sorted({str(row.state) for row in self.rows().values()})) or "no row"

    def held_files(self) -> int:
        """Data files of ingests that the daemon has open."""
        assert self.daemon.process
        pid, count = self.daemon.process.pid, 0
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            count += "/ingest/" in target and target.endswith("/data")
        return count


def rate_rows(node: Node) -> Iterator[Row]:
    """Offsets, rates, the header's sum and the ETA of a pull of two layers."""
    pull = node.pull()
    node.watch(20, lambda: len(node.rows()) == 2)
    with Samples([node.data(ref) for ref in node.refs]) as samples:
        began = samples.await_growth()
        for second in (2.0, 5.0, 20.0):
            node.watch(began + second - time.monotonic())
            before = samples.sizes()
            view = node.view = node.monitor.tick()
            after = samples.sizes()
            rows = node.rows()
            shown = [rows[ref].status.offset for ref in node.refs]
            yield Row(
                f"offsets after {second:.0f} s",
                " ".join(map(str, shown)),
                " ".join(f"{low}…{high}" for low, high in zip(before, after, strict=True)),
                "stat of the data files before and after the tick",
                all(a <= x <= b for a, x, b in zip(before, shown, after, strict=True)),
            )
            rates = [rows[ref].rate for ref in node.refs]
            true = samples.rates(min(second, GROWTH_WINDOW_S))
            yield Row(
                f"rates after {second:.0f} s",
                " ".join("…" if r is None else f"{r / MB:.2f}" for r in rates) + " MB/s",
                " ".join(f"{r / MB:.2f}" for r in true) + " MB/s",
                "growth of the data files over the same seconds",
                all(close(r, t, node.share) for r, t in zip(rates, true, strict=True)),
            )
            total = 0.0 if view.rate is None else view.rate
            yield Row(
                f"rate in the header after {second:.0f} s",
                f"{total / MB:.2f} MB/s",
                f"{sum(true) / MB:.2f} MB/s",
                "the sum of those",
                close(total, sum(true), node.share),
            )
        etas = {ref: (row.eta_s, time.monotonic()) for ref, row in rows.items()}
        ends = samples.ends(dict(zip(node.refs, map(node.data, node.refs), strict=True)))
        left = {ref: ends[ref] - at for ref, (_, at) in etas.items()}
        yield Row(
            "ETA after 20 s",
            " ".join(f"{eta or 0:.1f}" for eta, _ in etas.values()) + " s",
            " ".join(f"{left[ref]:.1f}" for ref in etas) + " s",
            "when the data files were complete",
            all(close(eta, left[ref], node.share, 0.5) for ref, (eta, _) in etas.items()),
        )
    pull.wait()
    yield _after_commit(node)


def _after_commit(node: Node) -> Row:
    node.watch(3, lambda: not node.view.rate and not node.rows())
    return Row(
        "after the pull", f"{node.view.rate or 0:.0f} B/s, {node.states()}", "0 B/s, no row",
        "``ctr`` has ended", not node.view.rate and not node.rows(),
    )  # fmt: skip


@contextmanager
def stalled_pull(node: Node) -> Iterator[subprocess.Popen[bytes]]:
    """A pull whose layers stop after 5 MB; it and what it left are gone afterwards."""
    for layer in node.image.layers:
        node.link.stall_at[Digest.of(layer)] = 5 * MB
    node.link.bytes_s = None
    pull = node.pull()
    node.watch(20, lambda: len(node.rows()) == 2 and node.held_files() == 2)
    try:
        yield pull
    finally:
        pull.kill()
        pull.wait()
        node.link.stalled.clear()
        for kind in ("images", "leases"):
            listed = subprocess.run(node.daemon.ctr(kind, "ls", "-q"), capture_output=True)
            for name in listed.stdout.decode().split():
                subprocess.run(node.daemon.ctr(kind, "rm", "--sync", name), capture_output=True)
        node.watch(10, lambda: node.held_files() == 0)
        for ref in node.rows():
            node.store.abort(node.rows()[ref].status.id, force=True)
        node.watch(1)


def state_rows(node: Node) -> Iterator[Row]:
    """States of a stalled, stopped, killed pull and across a restart of the daemon."""
    how = "stat: no growth; open data files of the daemon in /proc"
    with stalled_pull(node) as pull:
        node.watch(12)
        yield Row("link stalls, 12 s", node.states(), "quiet", how, node.states() == "quiet")
        yield holder_row(node, pull.pid)
        yield without_root_row(node)
        node.watch(STALLED_S - 11)
        right = node.states() == "stalled" and node.held_files() == 2
        yield Row(f"link stalls, {STALLED_S:.0f} s", node.states(), "stalled", how, right)
        pull.kill()
        node.watch(5, lambda: node.states() == "abandoned")
        right = node.states() == "abandoned" and node.held_files() == 0
        yield Row("the client is killed", node.states(), "abandoned", how, right)
        other = Monitor(node.store, thresholds=Thresholds(stalled_after_s=STALLED_S))
        states = " ".join(sorted({str(row.state) for row in other.tick().ingests}))
        yield Row("the same, a new dashboard", states, "abandoned", how, states == "abandoned")
    with stalled_pull(node) as pull:
        pull.kill()
        node.watch(5, lambda: node.states() == "abandoned")
        argv = [
            *(sys.executable, "-m", "contentui", "--store", f"unix://{node.daemon.socket}"),
            *("abort", "--abandoned", "--dry-run", "--json"),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        chosen = len(done.stdout.splitlines()) if done.returncode == 0 else -1
        yield Row(
            "between two attempts: `abort --abandoned`", f"{chosen} selected", "0",
            "the last byte is less than 30 s old", chosen == 0,
        )  # fmt: skip
    with stalled_pull(node) as pull:
        pull.send_signal(19)
        node.watch(STALLED_S + 2)
        right = node.states() == "stalled" and node.held_files() == 2
        yield Row("the client is stopped", node.states(), "stalled", how, right)
    with stalled_pull(node):
        sizes = [node.data(ref).stat().st_size for ref in node.refs]
        node.daemon.stop()
        node.watch(1)
        health = str(node.view.health.freshness)
        yield Row("the daemon is down", health, "stale", "its process has ended", health == "stale")
        node.daemon.start()
        node.watch(10, lambda: node.states() == "abandoned")
        offsets = [node.rows()[ref].status.offset for ref in node.refs if ref in node.rows()]
        right = node.states() == "abandoned" and offsets == sizes
        yield Row(
            "the daemon is back", f"{node.states()} at {offsets}", f"abandoned at {sizes}",
            "stat; no data file is open", right,
        )  # fmt: skip


def holder_row(node: Node, pid: int) -> Row:
    """Who holds a stalled ingest, as root."""
    holders = {holder_text(row.holder) for row in node.rows().values()}
    shown = " / ".join(sorted(holders))
    return Row(
        "holder, as root", shown, f"ctr[{pid}]", "the pid of the only ``ctr`` that runs",
        all(holder.startswith(f"ctr[{pid}] through containerd") for holder in holders),
    )  # fmt: skip


AS_NOBODY = """
import os, sys
from contentui.content.helpers import lock_holders
from contentui.stores.open import open_store
import contentui.stores.daemon, contentui.stores.socket_peers, contentui.present.detail, grpc
open_store(sys.argv[1]).close()  # imports all that it needs, before this user can't read them
os.setgroups([]); os.setgid(65534); os.setuid(65534)
store = open_store(sys.argv[1])
held = lock_holders(store, [status.id for status in store.statuses()])
print("unknown" if held is None else held)
"""


def without_root_row(node: Node) -> Row:
    """The same without root: what may not be seen is unknown, and never free."""
    parts = [node.daemon.socket, *node.daemon.socket.parents]
    modes = [(part, part.stat().st_mode & 0o7777) for part in parts[:-1]]
    for part, _ in modes[:-1]:
        part.chmod(0o777)
    try:
        argv = [sys.executable, "-c", AS_NOBODY, f"unix://{node.daemon.socket}?namespace=default"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    finally:
        for part, mode in modes:
            part.chmod(mode)
    shown = done.stdout.strip() or done.stderr[-200:]
    return Row(
        "holder, without root", shown, "unknown", "another user's /proc/PID/fd can't be read",
        shown == "unknown",
    )  # fmt: skip


def loading_rows(place: Path) -> Iterator[Row]:
    """Counts while many blobs are listed, and free disk."""
    count = 20_000
    root = place / "many"
    with LocalStore(str(root), create=True):
        folder = root / "blobs" / "sha256"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            data = b"%d" % number
            (folder / Digest.of(data).encoded).write_bytes(data)
    true = len(os.listdir(folder))
    with LocalStore(str(root)) as store:
        monitor = Monitor(store)
        shown, right = [], True
        while True:
            view = monitor.tick()
            text = count_text(len(view.blobs), is_loading=view.is_loading)
            right &= (len(view.blobs) == true) if not view.is_loading else len(view.blobs) <= true
            shown.append(text)
            if not view.is_loading:
                break
        right &= shown[-1] == f"{true:,}" and all("+" in t or t == "…" for t in shown[:-1])
        yield Row(
            "counts while loading", " ".join(dict.fromkeys(shown)), f"{true:,}",
            "a listing of the blob directory", right,
        )  # fmt: skip
        free = os.statvfs(root)
        true_free = free.f_bavail * free.f_frsize
        usage = view.usage
        yield Row(
            "free disk", f"{usage.free if usage else None}", f"{true_free}", "statvfs(2)",
            usage is not None and close(usage.free, true_free, 0.01),
        )  # fmt: skip


def measure(place: Path, share: float = CLOSE) -> Iterator[Row]:
    """All comparisons; rates and times may differ by that share.

    Raises:
        bench.peers.Missing: containerd or ctr is missing, or this isn't root.
    """
    with Containerd(place / "node") as daemon, Registry(Throttle(RATE)) as registry:
        node = Node(daemon, registry, share)
        with closing(node.store):
            yield from rate_rows(node)
            yield from lost_rows(daemon, node.store)
            yield from state_rows(node)
            registry.closed.set()
    yield from loading_rows(place)


def missing_rows() -> list[str]:
    """What this machine does not allow to measure."""
    if shutil.which("crictl") is None:
        return ["A pull by the kubelet (CRI) was not measured: there is no `crictl` here."]
    return []


def table(rows: Sequence[Row]) -> str:
    """The table of docs/monitor.md."""
    lines = ["| what | shown | true | true value from | right |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        cells = (row.what, row.shown, row.true, row.how, "yes" if row.right else "**no**")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, "", *missing_rows()])


def main() -> int:
    """Print the table, or write it; 1: something shown is not true."""
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/monitor.md")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="cui-") as place:
        for row in measure(Path(place)):
            rows.append(row)
            mark = "yes" if row.right else "NO "
            print(f"{mark}  {row.what}: shown {row.shown}, true {row.true}", flush=True)
    if args.write:
        before, _, rest = DOCUMENT.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{after}")
    return 0 if all(row.right for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
