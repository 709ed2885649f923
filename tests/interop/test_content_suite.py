"""containerd's content suite on our server, through containerd's client, which does not retry."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from interop_live import unavailable

from bench.peers import Missing, content_suite

HERE = Path(__file__).parent
TESTS = (
    "Writer",
    "UpdateStatus",
    "CommitExists",
    "Resume",
    "ResumeTruncate",
    "ResumeDiscard",
    "ResumeCopy",
    "ResumeCopySeeker",
    "ResumeCopyReaderAt",
    "SmallBlob",
    "Labels",
    "CommitErrorState",
)
"""All that `testsuite.ContentSuite` runs."""
RUNS = 50
ENDED = re.compile(r"^ *--- (PASS|FAIL|SKIP): TestContent/(\w+)", re.MULTILINE)


@pytest.fixture(scope="module")
def suite() -> Path:
    """The built driver."""
    try:
        return content_suite(HERE / "content_suite")
    except Missing as missing:
        unavailable(str(missing))


def run(suite: Path, place: Path) -> tuple[dict[str, str], str]:
    """One run on stores of its own: each test's end, and what was printed."""
    driver = subprocess.Popen(
        [suite, "-test.v"],
        env=os.environ | {"CONTENT_SUITE_PYTHON": sys.executable, "TMPDIR": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed = driver.communicate(timeout=90)[0]
    finally:
        if driver.poll() is None:
            os.killpg(driver.pid, signal.SIGKILL)  # its services, too
            driver.wait()
    return {name: end for end, name in ENDED.findall(printed)}, printed


def test_twelve_of_twelve(suite: Path, short_tmp: Path) -> None:
    ends, printed = run(suite, short_tmp)
    assert ends == dict.fromkeys(TESTS, "PASS"), printed


@pytest.mark.torture
def test_fifty_runs_in_a_row(suite: Path, short_tmp: Path) -> None:
    failed: Counter[str] = Counter()
    reasons = ""
    for _ in range(RUNS):
        ends, printed = run(suite, short_tmp)
        wrong = [name for name in TESTS if ends.get(name) != "PASS"]
        failed.update(wrong)
        reasons = printed if wrong else reasons
    print(f"\ncontainerd's content suite: {RUNS} runs, failed: {dict(failed) or 'none'}")
    assert not failed, reasons
