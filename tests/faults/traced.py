"""The installed program with one system call made to fail by strace, SQLite's calls included."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import fault_checks
import operations
from durable import Durability
from fault_cases import copy_store
from fault_checks import State
from injected import ERRNOS
from operations import KEPT, LABELLED, LONG, PLAIN, SHORT, SOURCE, Operation

from contentui.content.digest import Digest

SIGNALS = ("SIGKILL", "SIGINT")
"""What may arrive at a call instead of an error."""
PROGRAM = Path(sys.executable).with_name("contentui")
_CALLS = """
    openat newfstatat fstat pwrite64 write read pread64 fsync fdatasync unlink unlinkat rename
    renameat renameat2 link linkat mkdir mkdirat rmdir fchmod fchmodat utimensat ftruncate
    copy_file_range getdents64 fcntl flock close sync_file_range lseek
""".split()  # noqa: SIM905
_LINE = re.compile(r"^(\d+) +(\w+)\(")


class Verb(NamedTuple):
    """A command line with ROOT for the store; ``facts`` as those of an `Operation`."""

    name: str
    arguments: tuple[str, ...]
    facts: tuple[operations.Fact, ...] = ()
    already: tuple[int, ...] = ()
    start: str = "full"
    drops: bool = False

    @property
    def operation(self) -> Operation:
        return Operation(self.name, lambda *_: None, self.facts, drops=self.drops)


VERBS = [
    Verb(
        "ingest",
        ("ingest", "short", "--from", "SHORT", "--label", "new=label"),
        (operations.Blob(SHORT, SOURCE), operations.NoIngest("short")),
    ),
    Verb(
        "ingest into a new store",
        ("ingest", "short", "--from", "SHORT", "--label", "new=label"),
        (operations.Blob(SHORT, SOURCE), operations.NoIngest("short")),
        start="missing",
    ),
    Verb(
        "ingest what is expected",
        ("ingest", "--expected-digest", str(Digest.of(SHORT)), "--from", "SHORT"),
        (operations.Blob(SHORT, {}), operations.NoIngest(str(Digest.of(SHORT)))),
    ),
    Verb(
        "resume",
        ("ingest", "partial", "--from", "LONG"),
        (operations.Blob(LONG, {}), operations.NoIngest("partial")),
    ),
    Verb(
        "delete",
        ("delete", str(Digest.of(LABELLED)), "--force", "--yes"),
        (operations.NoBlob(LABELLED),),
        already=(5,),
    ),
    Verb(
        "label",
        ("label", str(Digest.of(PLAIN)), "one=1"),
        (operations.Blob(PLAIN, {"one": "1"}),),
    ),
    Verb("abort", ("abort", "idle", "--yes"), (operations.NoIngest("idle"),), (5,), drops=True),
    Verb("truncate", ("truncate", "idle"), (operations.Ingest("idle", b""),), drops=True),
    Verb(
        "images --remove",
        ("images", "--remove", "old:1", "--yes"),
        (operations.Image("old:1", None),),
        already=(5,),
    ),
    Verb("list", ("list", "-q")),
    Verb("active", ("active", "-q")),
    Verb("get", ("get", str(Digest.of(LABELLED)))),
]


class Site(NamedTuple):
    """The n-th call of that name in the main thread, which deals with the store."""

    call: str
    number: int
    what: str


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Bench:
    """Prepared stores, sources, and the program in a world of its own."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self._number = 0
        for kind in ("full", "missing"):
            operations.prepare(kind, str(base / kind))
        (base / "short").write_bytes(SHORT)
        (base / "long").write_bytes(LONG)
        assert len(KEPT) < len(LONG)

    def fresh(self, verb: Verb) -> str:
        self._number += 1
        root = str(self.base / f"case-{self._number:05}")
        copy_store(str(self.base / verb.start), root)
        return root

    def run(self, verb: Verb, root: str, *before: str) -> Ran:
        places = {"SHORT": self.base / "short", "LONG": self.base / "long"}
        arguments = [str(places.get(word, word)) for word in verb.arguments]
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CONTENTUI_", "PYTHON", "COLUMNS"))
        }
        environment |= {
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "XDG_STATE_HOME": root + ".state",
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run(
            [*before, str(PROGRAM), *arguments, "--store", root],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=100,
            check=False,
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    def traced(self, verb: Verb, root: str, *inject: str) -> tuple[Ran, list[str]]:
        """Run under strace; the calls that dealt with the store, and those that were tampered."""
        trace = root + ".trace"
        options = ["-f", "-y", "-qq", "-e", f"trace={','.join(_CALLS)}"]
        if not any("signal=" in word for word in inject):
            options.append("--seccomp-bpf")  # faster, but with it strace sends no signals
        ran = self.run(verb, root, "strace", *options, *inject, "-o", trace)
        with open(trace, errors="replace") as file:
            return ran, file.readlines()

    def clean(self, root: str) -> None:
        for path in (root, root + ".state"):
            shutil.rmtree(path, ignore_errors=True)
        if os.path.exists(root + ".trace"):
            os.unlink(root + ".trace")


class Plain(NamedTuple):
    state: fault_checks.Plain
    out: str
    sites: list[Site]


def run_plain(bench: Bench, verb: Verb) -> Plain:
    """A run without faults."""
    root = bench.fresh(verb)
    before = fault_checks.look(root)
    ran, lines = bench.traced(verb, root)
    assert ran.code == 0, ran
    after = fault_checks.look(root)
    assert not unmet(verb, root, after)
    bench.clean(root)
    return Plain(fault_checks.Plain(before, after, {}), ran.out, _sites(lines, root))


def _sites(lines: list[str], root: str) -> list[Site]:
    counts: Counter[str] = Counter()
    main, found = "", []
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            continue
        thread, call = match.groups()
        main = main or thread
        if thread != main:
            continue
        counts[call] += 1
        if root in line and root + "." not in line:
            what = line.split(root, 1)[1][:60].strip()
            found.append(Site(call, counts[call], re.sub(r"[0-9a-f]{60,}", "HEX", what)))
    return found


def unmet(verb: Verb, root: str, state: State, *, leftovers: bool = False) -> list[str]:
    return fault_checks.unmet(verb.operation, root, state, Durability(), leftovers=leftovers)


def run_case(bench: Bench, verb: Verb, plain: Plain, site: Site, error: str) -> list[str] | None:
    """What is wrong after the fault and the same command again; None: it hit something else."""
    root = bench.fresh(verb)
    what = f"signal={error}" if error in SIGNALS else f"error={error}"
    inject = f"inject={site.call}:{what}:when={site.number}"
    ran, lines = bench.traced(verb, root, "-e", inject)
    if not _was_hit(lines, root, error):
        bench.clean(root)
        return None
    wrong = _said(ran, error)
    state = fault_checks.look(root)
    if ran.code == 0:
        missing = unmet(verb, root, state, leftovers=True)
        wrong += [f"acknowledged, but {what}" for what in missing]
        if not verb.facts and ran.out != plain.out:
            wrong.append(f"printed {ran.out[:200]!r}")
    elif error == "SIGINT" and ran.code not in (130, -2):
        wrong.append(f"ended with {ran.code} after Ctrl-C: {ran.err.strip()[:200]}")
    elif ran.code < 0 and error not in SIGNALS:
        wrong.append(f"died of signal {-ran.code}")
    after = bench.run(verb, root)
    if after.code != 0 and after.code not in verb.already:
        wrong.append(f"the same command then failed with {after.code}: {after.err.strip()[:200]}")
    wrong += fault_checks.held(root)
    state = fault_checks.look(root)
    if error == "SIGKILL":  # a journal that undoes nothing stays until the next change
        journals = {".contentui/labels.db-journal", ".contentui/images.db-journal"}
        state = state._replace(files=state.files - journals)
    wrong += [f"in the end {what}" for what in unmet(verb, root, state)]
    wrong += fault_checks.differences(plain.state.after, state)
    bench.clean(root)
    return wrong


def _was_hit(lines: list[str], root: str, error: str) -> bool:
    """Whether the fault met a call that deals with the store."""
    if error == "SIGKILL":
        killed = any("killed by SIGKILL" in line for line in lines)
        return killed and any(root in line for line in lines if line.rstrip().endswith("= ?"))
    where = "--- SIGINT" if error == "SIGINT" else "(INJECTED)"
    for number, line in enumerate(lines):
        if where in line:
            return root in (line if error != "SIGINT" else lines[max(number - 1, 0)])
    return False


def _said(ran: Ran, error: str) -> list[str]:
    wrong = []
    if "Traceback" in ran.err:
        wrong.append(f"a traceback: {ran.err.strip().splitlines()[-1][:200]}")
    if ran.code and not ran.err.strip() and error not in SIGNALS:
        wrong.append(f"failed with {ran.code} without a word")
    if error == "EIO" and "free some space" in ran.err:
        wrong.append(f"reported a full disk where it failed: {ran.err.strip()[:200]}")
    return wrong


def sample(plain: Plain, every: int, start: int = 0) -> list[tuple[Site, str]]:
    """Some sites, each with one error; every errno meets every kind of call in the long run."""
    cases = [(site, error) for site in plain.sites for error in (*ERRNOS, *SIGNALS)]
    return cases[start::every]
