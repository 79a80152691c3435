"""Bad log-ins make the next ones wait, by name and by address."""

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FREE_TRIES_A_NAME = 5
FREE_TRIES_AN_ADDRESS = 20
"""More than for a name: a house or a school has one address."""
LONGEST_WAIT_SECONDS = 60.0
FORGOTTEN_SECONDS = 900.0
"""An address without a bad try for so long begins anew; a name does so too, or when its owner logs in."""
KEPT_KEYS = 10_000


@dataclass
class _Tries:
    bad: int = 0
    last: float = 0.0
    until: float = 0.0


class Throttle:
    """Counts tries to log in. A try counts as bad from its beginning, so that many at once are no way round.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tries: OrderedDict[tuple[str, str], _Tries] = OrderedDict()

    def begin(self, name: str, address: str) -> float:
        """Ask for a try.

        Returns:
            0 if it may be made, and it counts as bad until `succeed` is told. Else the seconds to wait; then it does
            not count, and the password must not even be looked at.
        """
        now = self._clock()
        with self._lock:
            found = [self._of(key, now) for key in _keys(name, address)]
            wait = max(tries.until - now for tries in found)
            if wait > 0:
                return wait
            for tries, free in zip(found, (FREE_TRIES_A_NAME, FREE_TRIES_AN_ADDRESS), strict=True):
                tries.bad += 1
                tries.last = now
                if tries.bad >= free:
                    # 2.0**6 is beyond the longest wait; larger powers would overflow one day.
                    tries.until = now + min(LONGEST_WAIT_SECONDS, 2.0 ** min(tries.bad - free, 6))
            return 0.0

    def succeed(self, name: str, address: str) -> None:
        """Tell that the try was right: the name begins anew. The address only gets this try back, as whoever has an
        account could guess at others' for ever with it otherwise."""
        by_name, by_address = _keys(name, address)
        with self._lock:
            self._tries.pop(by_name, None)
            tries = self._tries.get(by_address)
            if tries is not None:
                tries.bad -= 1
                if tries.bad < FREE_TRIES_AN_ADDRESS:
                    tries.until = 0.0

    def __len__(self) -> int:
        return len(self._tries)

    def _of(self, key: tuple[str, str], now: float) -> _Tries:
        tries = self._tries.setdefault(key, _Tries())
        if tries.bad and now - tries.last > FORGOTTEN_SECONDS:
            tries.bad, tries.until = 0, 0.0
        self._tries.move_to_end(key)
        while len(self._tries) > KEPT_KEYS:
            self._tries.popitem(last=False)
        return tries


def _keys(name: str, address: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("name", name[:200]), ("address", _network(address))


def _network(address: str) -> str:
    """An address, or the part of an IPv6 one that a house gets: the rest is its own to choose."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:100]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
