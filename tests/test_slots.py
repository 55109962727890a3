"""Tests of the compact index: it does what a dict does."""

from hypothesis import given
from hypothesis import strategies as st

from gitlab_port_export.port.slots import BUCKETS, Slots

# Close keys share arrays, and neighbours in one array are to be told apart.
keys = st.integers(0, 2**64 - 1) | st.integers(0, 8).map(lambda number: number * BUCKETS) | st.integers(0, 3)


@given(st.lists(st.tuples(keys, st.integers(0, 2**32 - 1))), st.lists(keys))
def test_slots_are_found_by_their_keys_as_in_a_dict(pairs: list[tuple[int, int]], others: list[int]) -> None:
    slots = Slots()
    for key, slot in pairs:
        slots[key] = slot
    expected = dict(pairs)
    for key in (*expected, *others):
        assert slots.get(key) == expected.get(key)
