"""Random requests over a real socket: the service answers what the model says, step by step."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import fuzz_service
import fuzz_wire
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = 250
"""Steps of one example."""
KNOWN = {
    "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE",
    "UNAVAILABLE", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED",
}  # fmt: skip


@pytest.fixture(params=["memory", "local", "disk"])
def rig(request: pytest.FixtureRequest) -> Iterator[fuzz_service.Rig]:
    with fuzz_service.rig(request.param) as made:
        yield made


def run(rig: fuzz_service.Rig, examples: int) -> None:
    machine = type("Machine", (fuzz_service.ServiceMachine,), {"rig": rig})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # a shorter example may need the same moments
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_service_and_model_agree(rig: fuzz_service.Rig) -> None:
    run(rig, 8)
    assert rig.steps > 300


@pytest.mark.torture
def test_service_and_model_agree_for_long(rig: fuzz_service.Rig) -> None:
    begun, differences = time.monotonic(), 0
    while rig.steps < 100_000:
        run(rig, 200)
    seconds = time.monotonic() - begun
    print(f"\n{rig.kind}: {rig.steps:,} steps, {differences} differences, "
          f"{rig.steps / seconds:,.0f} steps/s")  # fmt: skip
    for outcome, count in sorted(rig.outcomes.items()):
        print(f"  {count:7,} {outcome}")


def test_garbage_is_refused_in_words(rig: fuzz_service.Rig) -> None:
    """Bytes that are no message, and messages cut or altered: a code, words, and it goes on."""
    rig.fresh()
    chance = random.Random(20260)
    sound = fuzz_wire.encode({1: 1, 2: "ref", 3: 5, 4: "", 5: 3, 6: b"data" * 9, 7: [("a", "b")]})
    for turn in range(600):
        name = chance.choice(list(fuzz_wire.SHAPES))
        request = spoiled(sound, chance)
        answer = fuzz_service.asked(lambda name=name, request=request: call(rig, name, request))
        if isinstance(answer, fuzz_wire.Refused):
            assert answer.code in KNOWN, (turn, name, request, answer)
            assert answer.details
    assert rig.wire.one("ListStatuses", b"") is not None
    rig.drop()


def spoiled(sound: bytes, chance: random.Random) -> bytes:
    match chance.randrange(3):
        case 0:
            return chance.randbytes(chance.randrange(60))
        case 1:
            return sound[: chance.randrange(len(sound))]
        case _:
            broken = bytearray(sound)
            broken[chance.randrange(len(broken))] = chance.randrange(256)
            return bytes(broken)


def call(rig: fuzz_service.Rig, name: str, request: bytes) -> Any:
    shape = fuzz_wire.SHAPES[name]
    if shape == "unary_unary":
        return rig.wire.one(name, request)
    if shape == "unary_stream":
        return rig.wire.many(name, request)
    stream = rig.wire.write(fuzz_wire.LIMIT_S)
    stream.send(request)
    stream.half_close()
    return list(stream.rest())
