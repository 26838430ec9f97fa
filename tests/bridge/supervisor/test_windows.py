"""The integral over a sliding window is never less than the true one, at most a bin too long."""

import numpy as np
import pytest

from swarmctl.bridge.supervisor.windows import (
    BINS,
    add_interval,
    allowed_rate,
    empty_window,
    window_sum,
)

SPAN = 2.0


@pytest.mark.parametrize("seed", range(5))
def test_the_sum_lies_between_the_integrals_over_the_window_and_over_one_bin_more(seed):
    rng = np.random.default_rng(seed)
    now = 1e5 * rng.random()
    window = empty_window(SPAN, (3,), now)
    starts, stops, rates = [], [], []
    for _ in range(200):
        stop = now + SPAN * rng.choice([1e-4, 0.01, 0.3, 2.5]) * rng.random()
        rate = rng.uniform(0, 4, 3) * (rng.random(3) < 0.7)
        window = add_interval(window, now, stop, rate)
        starts, stops, rates = [*starts, now], [*stops, stop], [*rates, rate]
        now = stop
        inside = np.maximum(np.array(stops) - np.maximum(starts, now - SPAN), 0)
        longer = np.maximum(np.array(stops) - np.maximum(starts, now - SPAN * (1 + 1 / BINS)), 0)
        assert np.all(window_sum(window) >= inside @ rates - 1e-9)
        assert np.all(window_sum(window) <= longer @ rates + 1e-9)
        assert np.all(window.peaks.max(0) >= np.max(np.array(rates)[inside > 0], 0))


def test_a_rate_is_allowed_for_as_long_as_it_may_last():
    window = empty_window(SPAN, (2,), 0.0)
    assert allowed_rate(window, 4.0, 0.5).tolist() == [8.0, 8.0]
    window = add_interval(window, 0.0, 0.5, np.array([6.0, 2.0]))
    # The first was higher than 4 in 2 s can last; the second may go on for ever.
    assert allowed_rate(window, 4.0, 0.5).tolist() == [2.0, 6.0]
    window = add_interval(window, 0.5, 1.9, np.array([0.0, 2.0]))
    assert np.allclose(allowed_rate(window, 4.0, 0.5), [2.0, 2.0])
    assert allowed_rate(window, 3.0, 0.5).tolist() == [0.0, 0.0]
