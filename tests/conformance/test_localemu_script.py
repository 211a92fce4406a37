"""LocalEmu's init script makes moto's writes isolated: the tests of concurrent writes, which moto alone fails, pass with it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from devtools.target import ROOT

# In a process of its own, because the script changes moto for good.
PROGRAM = """
import runpy
runpy.run_path("devtools/local/localemu/isolated_transactions.py")
from tests.conformance import targets, test_transactions, test_updates
for attempt in range(3):
    with targets.mocked() as moto:
        test_transactions.test_concurrent_transactions_never_take_more_than_is_available(moto)
    with targets.mocked() as moto:
        test_updates.test_concurrent_updates_never_take_more_than_is_available(moto)
"""


@pytest.mark.service
def test_moto_isolates_concurrent_writes_with_the_init_script() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
