"""The slot of each key in a ledger: about fifteen bytes an entity, where a dict takes a hundred."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator

# So many sorted arrays; where a million keys share them, inserting moves a few KiB.
BUCKETS = 1024


class Slots:
    """Slots (below 2^32) by keys (below 2^64) that are spread evenly, as hashes are."""

    def __init__(self) -> None:
        self._keys = [array("Q") for _ in range(BUCKETS)]
        self._slots = [array("I") for _ in range(BUCKETS)]

    def __setitem__(self, key: int, slot: int) -> None:
        """Give a key its slot, in place of another that it may have had."""
        keys, slots = self._keys[key % BUCKETS], self._slots[key % BUCKETS]
        at = bisect_left(keys, key)
        if at < len(keys) and keys[at] == key:
            slots[at] = slot
        else:
            keys.insert(at, key)
            slots.insert(at, slot)

    def get(self, key: int) -> int | None:
        """Return the slot of a key, or None."""
        keys = self._keys[key % BUCKETS]
        at = bisect_left(keys, key)
        return self._slots[key % BUCKETS][at] if at < len(keys) and keys[at] == key else None

    def items(self) -> Iterator[tuple[int, int]]:
        """Yield (key, slot) of every key, in no order."""
        for keys, slots in zip(self._keys, self._slots, strict=True):
            yield from zip(keys, slots, strict=True)
