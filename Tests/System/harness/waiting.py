"""Waiting for something to become true, with a deadline, instead of sleeping and hoping."""

import time
from typing import Callable, TypeVar

T = TypeVar("T")

#: How long the slowest honest thing may take on a busy machine of two cores, in seconds.
PATIENCE = 20.0


def eventually(attempt: Callable[[], T], what: str, within: float = PATIENCE, pause: float = 0.02) -> T:
    """The first truthy answer of `attempt`.

    An `AssertionError` of the attempt counts as "not yet", and is shown if the deadline passes.
    """
    deadline = time.monotonic() + within
    last: object = None
    while True:
        try:
            last = attempt()
            if last:
                return last
        except AssertionError as reason:
            last = reason
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:.0f} s: {what} (last seen: {last!r})")
        time.sleep(pause)
