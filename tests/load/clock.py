"""Simulated time that advances when all threads wait: minutes pass at once, with reproducible results.

Every activity is a thread, of which one runs at a time until it waits; then the clock moves to the next one's moment.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from itertools import count

PATIENCE = 60.0


class Clock:
    """Simulated seconds since the start, and the wake-up times of threads."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.now = 0.0
        self._due: list[tuple[float, int, threading.Semaphore, Callable[[], object] | None]] = []
        self._numbers = count()
        self._stood = threading.Semaphore(0)
        self._raised: list[BaseException] = []
        self._local = threading.local()

    def at(self, moment: float, work: Callable[[], object]) -> None:
        """Have something done by a thread of its own from a moment on."""
        heapq.heappush(self._due, (moment, next(self._numbers), threading.Semaphore(0), work))

    def sleep(self, seconds: float) -> None:
        """Suspend the calling thread for that many simulated seconds, like `time.sleep`."""
        turn = self._local.turn
        heapq.heappush(self._due, (self.now + seconds, next(self._numbers), turn, None))
        self._stood.release()
        assert turn.acquire(timeout=PATIENCE), "the clock stands"

    def run(self) -> None:
        """Let time pass until nothing is left to do. Raises what an activity raised."""
        while self._due:
            self.now, _, turn, work = heapq.heappop(self._due)
            if work is None:
                turn.release()
            else:
                threading.Thread(target=self._do, args=(turn, work), daemon=True).start()
            assert self._stood.acquire(timeout=PATIENCE), "an activity does not come to its end"
            if self._raised:
                raise self._raised[0]

    def _do(self, turn: threading.Semaphore, work: Callable[[], object]) -> None:
        self._local.turn = turn
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised by the thread that runs the clock
            self._raised.append(error)
        self._stood.release()
