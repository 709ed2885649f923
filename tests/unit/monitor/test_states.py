"""Each state has its rule, and a reason that ends with what to do."""

from __future__ import annotations

import pytest

from contentui.content.digest import EMPTY
from contentui.content.model import IngestId, Liveness, Status
from contentui.monitor.states import IngestState, Thresholds, ingest_state

STATUS = Status("ref", 10, 100, 1, 1, None, IngestId("id"))
T = Thresholds()


def state(status: Status = STATUS, **given: object) -> IngestState:
    known = {"liveness": Liveness.HELD, "silent_s": 0.0, "thresholds": T} | given
    found, reason = ingest_state(status, **known)  # type: ignore[arg-type]
    assert reason[0].isupper()
    assert reason.endswith(".")
    assert ":" in reason or "wait" in reason
    assert found, reason == ingest_state(status, **known)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("liveness", "expected"),
    [
        (Liveness.HELD, IngestState.STALLED),
        (Liveness.UNKNOWN, IngestState.UNKNOWN),
    ],
)
def test_silence_by_holder(liveness: Liveness, expected: IngestState) -> None:
    assert state(liveness=liveness, silent_s=30.0) is expected
    assert state(liveness=liveness, silent_s=29.9) is IngestState.QUIET
    assert state(liveness=liveness, silent_s=9.9) is IngestState.MOVING
    assert state(liveness=liveness, silent_s=3000.0, confirmed=False) is IngestState.QUIET
    slow = Thresholds(stalled_after_s=120)
    assert state(liveness=liveness, silent_s=60.0, thresholds=slow) is IngestState.QUIET
    never_quiet = Thresholds(quiet_after_s=40)
    assert state(liveness=liveness, silent_s=30.0, thresholds=never_quiet) is expected


@pytest.mark.parametrize("silent_s", [0.0, 1.0, 29.0, 1e6])
@pytest.mark.parametrize("confirmed", [False, True])
def test_an_incomplete_one_without_a_writer_is_abandoned_at_once(
    silent_s: float, confirmed: bool
) -> None:
    known = {"liveness": Liveness.FREE, "silent_s": silent_s, "confirmed": confirmed}
    assert state(**known) is IngestState.ABANDONED
    assert state(**known, grown_s=silent_s + 1) is IngestState.ABANDONED
    assert state(STATUS._replace(total=0), **known) is IngestState.ABANDONED


def test_bytes_that_arrive_disprove_that_nobody_writes() -> None:
    assert state(liveness=Liveness.FREE, grown_s=0.5) is IngestState.MOVING


def test_once_bytes_were_seen_silence_is_a_stall_even_without_a_known_holder() -> None:
    assert state(liveness=Liveness.UNKNOWN, silent_s=31, grown_s=31.0) is IngestState.STALLED


@pytest.mark.parametrize("liveness", list(Liveness))
@pytest.mark.parametrize("silent_s", [0.0, 1e6])
def test_completeness_beats_silence(liveness: Liveness, silent_s: float) -> None:
    for offset in (100, 101):
        whole = STATUS._replace(offset=offset)
        assert state(whole, liveness=liveness, silent_s=silent_s) is IngestState.COMPLETE
        assert state(whole._replace(refused=EMPTY), silent_s=silent_s) is IngestState.POISONED
        broken = whole._replace(refused=EMPTY, damage="no 'ref'")
        assert state(broken, silent_s=silent_s) is IngestState.DAMAGED


def test_an_undeclared_total_is_never_complete() -> None:
    assert state(STATUS._replace(total=0, offset=0)) is IngestState.MOVING


def test_trickle_only_while_bytes_come() -> None:
    assert state(grown_s=0.0, slow=True) is IngestState.TRICKLE
    assert state(silent_s=31.0, slow=True) is IngestState.STALLED
    assert state(grown_s=0.0) is IngestState.MOVING


def test_damage_is_shown_harmlessly() -> None:
    reason = ingest_state(
        STATUS._replace(damage="odd \x1b[31mname.\n"),
        liveness=Liveness.FREE,
        silent_s=0,
        thresholds=T,
    )[1]
    assert reason.isprintable()
    assert "\\x1b[31mname" in reason


def test_no_reason_holds_text_from_the_store() -> None:
    for liveness in Liveness:
        for silent_s in (0.0, 1e5):
            reason = ingest_state(STATUS, liveness=liveness, silent_s=silent_s, thresholds=T)[1]
            assert "ref" not in reason.replace("the ref", "")


def test_nobody_is_told_to_end_a_daemon() -> None:
    for status in (STATUS, STATUS._replace(offset=100)):
        said = ingest_state(status, liveness=Liveness.HELD, silent_s=99, thresholds=T, served=True)[
            1
        ]
        assert "end that" in said
        assert "process" not in said
