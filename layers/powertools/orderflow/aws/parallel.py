"""Runs a function for many items in parallel threads, for calls to AWS."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from orderflow.aws.clients import CONNECTIONS

# The type of `map` and `in_parallel`: applies a function to every item, possibly in parallel.
type Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
# With fewer items, threads cost more time than they save.
_MIN_ITEMS = 4


def in_parallel[A, B](work: Callable[[A], B], items: Iterable[A]) -> Iterable[B]:
    """Return the result of `work` for each item, in their order, from `_MIN_ITEMS` items on by several threads.

    Raises the first exception that `work` raises.
    """
    some = list(items)
    return _pool().map(work, some) if len(some) >= _MIN_ITEMS else map(work, some)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CONNECTIONS)
