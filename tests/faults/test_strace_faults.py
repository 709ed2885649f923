"""The installed program under strace: each call that deals with the store fails, SQLite's too."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import traced
from traced import VERBS, Bench, Verb

if TYPE_CHECKING:
    from pathlib import Path

EVERY = 211
"""How many cases one is taken of in `make test`."""
EVERY_LONG = 4
SHOWN = 12


def require_strace() -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    tried = subprocess.run(
        ["strace", "-qq", "--seccomp-bpf", "-f", "-o", os.devnull, "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        pytest.skip(f"strace may not trace here: {tried.stderr.strip()[:100]}")


def check(bench: Bench, verb: Verb, every: int, processes: int) -> int:
    plain = traced.run_plain(bench, verb)
    cases = traced.sample(plain, every, VERBS.index(verb))
    with ThreadPoolExecutor(processes) as pool:
        results = list(
            pool.map(lambda case: traced.run_case(bench, verb, plain, case[0], case[1]), cases)
        )
    hit = [result for result in results if result is not None]
    wrong = [
        f"{error} at {site.call} {site.number} ({site.what}): {what}"
        for (site, error), result in zip(cases, results, strict=True)
        for what in result or ()
    ]
    more = f"\n... and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    assert not wrong, "\n" + "\n".join(wrong[:SHOWN]) + more
    assert len(hit) > 0.7 * len(cases), f"only {len(hit)} of {len(cases)} faults hit the store"
    return len(hit)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_some_calls_of_a_verb_fail(verb: Verb, tmp_path: Path) -> None:
    require_strace()
    check(Bench(tmp_path), verb, EVERY, 1)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_many_calls_of_a_verb_fail(verb: Verb, tmp_path: Path) -> None:
    require_strace()
    every = int(os.environ.get("CONTENTUI_STRACE_EVERY", str(EVERY_LONG)))
    hit = check(Bench(tmp_path), verb, every, os.cpu_count() or 1)
    print(f"{verb.name}: {hit} faults")
