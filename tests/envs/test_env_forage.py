"""Forage: where the sites are, and bad options."""

from __future__ import annotations

import numpy as np
import pytest

from swarmctl.core.errors import ConfigError
from swarmctl.envs.forage import scattered
from swarmctl.envs.make import make_scenario


def test_sites_are_those_of_haltons_sequence() -> None:
    wanted = [[1 / 2, 1 / 3], [1 / 4, 2 / 3], [3 / 4, 1 / 9], [1 / 8, 4 / 9]]
    np.testing.assert_allclose(scattered(4, (10.0, 20.0)), np.asarray(wanted) * [10, 20])


def test_what_is_seen_and_eaten_is_the_same_food() -> None:
    scenario = make_scenario("Forage-v0", sites=3)
    assert scenario.task.food is scenario.observable.parts[0].food  # type: ignore[attr-defined]
    assert list(scenario.picture.markers) == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("options", "says"),
    [({"sites": 0}, "sites"), ({"supply": 0.0}, "supply"), ({"box": (9.0,) * 3}, "two box")],
)
def test_bad_options_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_scenario("Forage-v0", **options)
