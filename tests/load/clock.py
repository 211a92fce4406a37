"""Simulated time: minutes pass at once, and results are reproducible.

Every activity is a thread. One thread runs at a time, until it sleeps; then the clock advances to the earliest time that is due.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from itertools import count

TIMEOUT_SECONDS = 60.0


class Clock:
    """A clock in simulated seconds since its start."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, threading.Semaphore, Callable[[], object] | None]] = []
        self._numbers = count()
        self._paused = threading.Semaphore(0)
        self._raised: list[BaseException] = []
        self._local = threading.local()

    def at(self, moment: float, work: Callable[[], object]) -> None:
        """Start `work` in a new thread at `moment`."""
        heapq.heappush(self._due, (moment, next(self._numbers), threading.Semaphore(0), work))

    def sleep(self, seconds: float) -> None:
        """Suspend the calling thread for that many simulated seconds, like `time.sleep`."""
        turn = self._local.turn
        heapq.heappush(self._due, (self.now + seconds, next(self._numbers), turn, None))
        self._paused.release()
        assert turn.acquire(timeout=TIMEOUT_SECONDS), "the simulated clock does not advance"

    def run(self) -> None:
        """Let time pass until every activity has ended. Raises the exception of an activity."""
        while self._due:
            self.now, _, turn, work = heapq.heappop(self._due)
            if work is None:
                turn.release()
            else:
                threading.Thread(target=self._do, args=(turn, work), daemon=True).start()
            assert self._paused.acquire(timeout=TIMEOUT_SECONDS), "an activity neither sleeps nor ends"
            if self._raised:
                raise self._raised[0]

    def _do(self, turn: threading.Semaphore, work: Callable[[], object]) -> None:
        self._local.turn = turn
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised by the thread that runs the clock
            self._raised.append(error)
        self._paused.release()
