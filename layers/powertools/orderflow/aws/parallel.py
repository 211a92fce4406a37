"""Doing many things of one kind at once, by threads: calls to AWS that wait for their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from orderflow.aws.clients import CONNECTIONS

_WORTH_IT = 4


def in_parallel[A, B](work: Callable[[A], B], items: Iterable[A]) -> Iterable[B]:
    """Return the results of `work` for every item, in their order; it is done by several threads where there are several items.

    Raises what `work` raises first.
    """
    some = list(items)
    return _pool().map(work, some) if len(some) >= _WORTH_IT else map(work, some)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CONNECTIONS)
