"""Concurrent calls: results keep their order, and exceptions reach the caller."""

from __future__ import annotations

import threading

import pytest

from orderflow.aws.clients import CONNECTIONS
from orderflow.aws.parallel import in_parallel


def test_many_calls_run_concurrently_and_keep_their_order() -> None:
    meeting = threading.Barrier(CONNECTIONS, timeout=10)

    def work(number: int) -> int:
        meeting.wait()
        return number * number

    assert list(in_parallel(work, range(CONNECTIONS))) == [number * number for number in range(CONNECTIONS)]


def test_few_calls_use_no_thread() -> None:
    assert set(in_parallel(lambda _: threading.current_thread(), range(3))) == {threading.current_thread()}


@pytest.mark.parametrize("number", [1, 20])
def test_exception_of_a_call_reaches_the_caller(number: int) -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_parallel(lambda one: 1 // one, range(number)))
