"""TransportRod: rewards add up to the way of the rod, and carrying by rule brings it home."""

from __future__ import annotations

import pytest

from swarmctl.agents.options import make_agent
from swarmctl.core.errors import ConfigError
from swarmctl.envs.make import make_env, make_scenario
from swarmctl.training.evaluate import evaluate_agent


def test_carrying_by_rule_brings_the_rod_nearer_and_is_paid_for_it() -> None:
    """Equal shares add up to the fall of the error, from the first state that is looked at on."""
    env = make_env(
        "TransportRod-v0",
        horizon=60,
        colloids=20,
        start_radius=70.0,
        credit="equal",
        bonus=0.0,
    )
    found = evaluate_agent(env, make_agent("rod-carrier", env.spec), episodes=3, seed=0)
    fall = found.measure[:, 0] - found.measure[:, -1]
    assert fall.mean() > 8
    # The first of the 60 decisions lies before the first measure.
    assert found.returns * 20 == pytest.approx(fall, abs=3.0)


@pytest.mark.parametrize(
    ("options", "says"),
    [({"arrival": 0.0}, "arrival"), ({"angle": float("inf")}, "angle"), ({"view": 0.0}, "view")],
)
def test_bad_options_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_scenario("TransportRod-v0", **options)
