"""Ctrl-C in long work: what was begun is finished first."""

import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any


class TrainingInterrupted(KeyboardInterrupt):
    """A training ended because somebody wished so.

    Args:
        finished: Names of the concepts that are finished nevertheless.
    """

    def __init__(self, finished: Sequence[str]) -> None:
        super().__init__()
        self.finished = tuple(finished)


class Interruption:
    """Ctrl-C as a wish that is granted between two steps, when everything is whole. A second one acts at once.

    Args:
        should_stop: Another way to say the same wish: asked whenever `wished` is.
    """

    def __init__(self, should_stop: Callable[[], bool] | None = None) -> None:
        self.asked = False
        self._should_stop = should_stop
        self._before: Any = None

    @property
    def wished(self) -> bool:
        """Whether the work shall end here."""
        self.asked = self.asked or (self._should_stop is not None and self._should_stop())
        return self.asked

    def __enter__(self) -> "Interruption":
        mine = threading.current_thread() is threading.main_thread()
        if mine and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
