"""Keys of entities that several shards produced: sorted arrays, merged as a stream, asked by bisection."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge

# Of keys that two shards produced so many are kept; further ones are only counted.
MOST_DOUBLES = 1000


@dataclass(frozen=True)
class Produced:
    """Sorted keys, see `port/keys.py`; 8 bytes each."""

    keys: "array[int]" = field(default_factory=lambda: array("Q"))

    def __contains__(self, key: object) -> bool:
        at = bisect_left(self.keys, key) if isinstance(key, int) else len(self.keys)
        return at < len(self.keys) and self.keys[at] == key

    def __iter__(self) -> Iterator[int]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


@dataclass
class Doubles:
    """Keys that more than one shard produced: how many, and some of them."""

    count: int = 0
    some: list[int] = field(default_factory=list)


def merged(streams: Sequence[Iterable[int]]) -> tuple[Produced, Doubles]:
    """Return the keys of sorted streams, each once, and those that more than one stream holds.

    What is read of the streams at a time is small, so the memory is that of the result.
    """
    found, doubles = array("Q"), Doubles()
    last = before = -1
    for key in merge(*streams):
        if key != last:
            found.append(key)
        elif key != before:
            before = key
            doubles.count += 1
            if len(doubles.some) < MOST_DOUBLES:
                doubles.some.append(key)
        last = key
    return Produced(found), doubles


def distinct(streams: Sequence[Iterable[int]]) -> Iterator[int]:
    """Yield the keys of sorted streams in order, each once."""
    last = -1
    for key in merge(*streams):
        if key != last:
            yield key
        last = key
