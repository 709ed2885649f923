"""Random work of eight processes, killed and stopped at random, against what their notes allow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import stress_model
from stress_model import ABSENT, DONE, UNKNOWN, Impossible, Operation

PROGRAM = Path(stress_model.__file__).with_name("stress.py")


def stress(root: Path, seconds: float, *options: str) -> dict[str, int]:
    """What was done; fails with what was wrong."""
    done = subprocess.run(
        [sys.executable, PROGRAM, "--seconds", str(seconds), *options, root],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 90,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    print(done.stdout)
    start = done.stdout.index("{")
    counts: dict[str, int] = json.loads(done.stdout[start : done.stdout.rindex("}") + 1])
    return counts


def test_a_short_stress(tmp_path: Path) -> None:
    counts = stress(tmp_path / "store", 5, "--seed", "3")
    assert counts["operations"] > 500
    assert counts["killed"] > 5
    assert counts["stopped"] > 5


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_a_long_stress(tmp_path: Path) -> None:
    counts = stress(tmp_path / "store", float(os.environ.get("CONTENTUI_STRESS_SECONDS", "600")))
    assert counts["killed in a transaction"] > 10
    assert counts["stopped in a transaction"] > 10


def op(name: str, kind: str, begin: int, end: int, result: Any = DONE) -> Operation:
    return Operation(name, kind, name, begin, end, result)


def test_what_was_stored_must_be_there() -> None:
    assert stress_model.final_states([None], [op("a", "store", 1, 2)]) == {("a", "")}
    killed = [op("a", "store", 1, 2, UNKNOWN)]
    assert stress_model.final_states([None], killed) == {None, ("a", "")}


def test_a_later_store_keeps_the_labels_of_the_first() -> None:
    one_after_another = [op("a", "store", 1, 2), op("b", "store", 3, 4)]
    assert stress_model.final_states([None], one_after_another) == {("a", "")}
    together = [op("a", "store", 1, 3), op("b", "store", 2, 4)]
    assert stress_model.final_states([None], together) == {("a", ""), ("b", "")}
    anew = [op("a", "store", 1, 2), op("d", "delete", 3, 4), op("b", "store", 5, 6)]
    assert stress_model.final_states([None], anew) == {("b", "")}
    marked = [op("a", "store", 1, 2), op("m", "mark", 3, 4)]
    assert stress_model.final_states([None], marked) == {("a", "m")}


def test_what_no_order_explains_is_said() -> None:
    lost = [op("a", "store", 1, 2), op("r", "read", 3, 4, ABSENT)]
    with pytest.raises(Impossible):
        stress_model.final_states([None], lost)
    dead = [op("d", "delete", 1, 2), op("b", "store", 3, 4), op("r", "read", 5, 6, ("a", ""))]
    with pytest.raises(Impossible):
        stress_model.final_states([("a", "")], dead)
    with pytest.raises(Impossible):
        stress_model.final_states([("a", "")], [op("d", "delete", 1, 2, ABSENT)])
