"""Criteria of the watch that are pure functions of what the loop has said."""

import numpy as np
import pytest

from swarmctl.bridge.orders import Spots
from swarmctl.bridge.supervisor.criteria import jumped


@pytest.mark.parametrize("seed", range(20))
def test_a_jump_is_the_way_to_the_nearest_spot_that_the_colloid_had(seed):
    rng = np.random.default_rng(seed)

    def spots(count):
        radius = rng.uniform(0.5, 3, count)
        return Spots(
            rng.uniform(0, 50, (count, 2)), radius, radius, rng.integers(-1, 6, count), "even"
        )

    before, asked, most = spots(rng.integers(1, 12)), spots(rng.integers(1, 12)), 8.0
    far = []
    for place, radius, who in zip(asked.position, asked.radius, asked.colloid, strict=True):
        same = before.position[before.colloid == who]
        if who >= 0 and len(same):
            way = np.linalg.norm(same - place, axis=1).min()
            far += [way] if way > most * max(radius, 1.0) else []
    words = jumped(before, asked, most)
    assert (f"jumped by {max(far):.4g} px" in words) if far else not words


def test_nobody_jumps_out_of_nothing():
    some = Spots(np.ones((1, 2)), np.ones(1), np.ones(1), np.zeros(1, np.int64))
    assert jumped(Spots.none(), some, 1.0) == jumped(some, Spots.none(), 1.0) == ""
