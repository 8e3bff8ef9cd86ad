import numpy as np
import pytest

from prefloop.seeding import Stream, uniform_of

KEYS = [i.to_bytes(4, "little") for i in range(4000)]


def test_a_key_keeps_its_number_whatever_stands_beside_it():
    numbers = uniform_of(KEYS, 3, Stream.HELD_OUT)
    order = np.random.default_rng(0).permutation(len(KEYS))[:100]
    few = uniform_of([KEYS[i] for i in order], 3, Stream.HELD_OUT)
    np.testing.assert_array_equal(few, numbers[order])
    assert len(uniform_of([], 3, Stream.HELD_OUT)) == 0


def test_they_are_uniform():
    numbers = np.sort(uniform_of(KEYS, 0, Stream.HELD_OUT))
    assert numbers[0] >= 0 and numbers[-1] < 1
    # Kolmogorov and Smirnov: beyond 1.95 in one case of a thousand
    gap = np.abs(numbers - (np.arange(len(KEYS)) + 0.5) / len(KEYS)).max()
    assert gap * np.sqrt(len(KEYS)) < 1.95


@pytest.mark.parametrize("other", [(1, Stream.HELD_OUT), (0, Stream.MEMBERS), (0, 9, 1)])
def test_seeds_and_streams_are_independent(other):
    numbers = uniform_of(KEYS, 0, Stream.HELD_OUT)
    correlation = np.corrcoef(numbers, uniform_of(KEYS, *other))[0, 1]
    assert abs(correlation) < 4 / np.sqrt(len(KEYS))
