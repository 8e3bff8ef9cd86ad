"""Whom an address stands for, and what is held against it: requests that are under way, wrong tokens."""

import asyncio
import ipaddress
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from functools import lru_cache


@lru_cache(maxsize=512)  # each request asks twice; a proxy's header may be 16 KiB long
def network_of(host: str | None) -> str:
    """What one household has: an address of IPv4, 64 bits of one of IPv6, of which everybody has 2^64."""
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return "unknown"  # what a proxy makes up, be it ever so long
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class WrongTokens:
    """Slows down whoever tries tokens. Whose token is right is never asked here, and never waits.

    Memory is bounded: of addresses that are many, those that tried longest ago are forgotten.
    """

    def __init__(
        self,
        free: int = 10,
        seconds: float = 2.0,
        at_once: int = 4,
        forgotten_after: float = 600.0,
        addresses: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Knows nobody yet.

        Args:
            free: how many an address may try before it is slowed down; a browser tries one a second.
            seconds: that the reply to each further one takes.
            at_once: how many replies to one address are held back; others are told to come later.
            forgotten_after: seconds without a try, after which an address begins anew.
            addresses: how many are remembered.
        """
        self._free, self._seconds, self._at_once = free, seconds, at_once
        self._forgotten_after, self._addresses, self._clock = forgotten_after, addresses, clock
        self._tried: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._tried)

    async def hold(self, host: str | None) -> bool:
        """Holds the reply to a wrong token back; False: too many are held back already."""
        address, now = network_of(host), self._clock()
        count, last = self._tried.pop(address, (0, now))
        count = 1 if now - last > self._forgotten_after else count + 1
        self._tried[address] = count, now
        if len(self._tried) > self._addresses:
            self._tried.popitem(last=False)
        if count <= self._free:
            return True
        if self._held[address] >= self._at_once:
            return False
        self._held[address] += 1
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self._held[address] -= 1
            if not self._held[address]:
                del self._held[address]
        return True


class UnderWay:
    """How many requests of each address are under way, where one proxy brings those of many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count: Counter[str] = Counter()

    def enter(self, host: str | None) -> bool:
        """Counts a request; False: there are as many already as there may be."""
        address = network_of(host)
        if self._count[address] >= self._most:
            return False
        self._count[address] += 1
        return True

    def leave(self, host: str | None) -> None:
        """A request has ended that was counted."""
        address = network_of(host)
        self._count[address] -= 1
        if not self._count[address]:
            del self._count[address]
