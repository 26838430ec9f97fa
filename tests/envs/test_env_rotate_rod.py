"""RotateRod: the mechanics of pushing, who is paid for it, and that pushing by rule turns it."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.options import make_agent
from swarmctl.core.errors import ConfigError
from swarmctl.core.world import Fluid, Placement
from swarmctl.envs.make import make_env, make_scenario
from swarmctl.training.evaluate import evaluate_agent


def test_one_pusher_turns_the_rod_by_slender_body_mechanics_and_is_paid_for_it() -> None:
    """ω = F y/γ_rot with F = γ v/(1 + γ/γ_across + γ y²/γ_rot), without noise."""
    scenario = make_scenario("RotateRod-v0", colloids=1, reward_scale=1.0)
    world, lever = scenario.world, 42.5  # opposite the centre of a bead
    middle, rod, swimmer = world.box.size[0] / 2, world.bodies[0], world.species[0]
    gap = swimmer.radius + rod.bead_radius + 0.05
    start = Placement(
        "points", positions=((middle + lever, middle - gap),), directors=((0.0, 1.0),)
    )
    still = dataclasses.replace(
        world,
        fluid=Fluid(temperature=0.0),
        species=(dataclasses.replace(swimmer, placement=start),),
        bodies=(
            dataclasses.replace(
                rod, placement=dataclasses.replace(rod.placement, directors=((1.0, 0.0),))
            ),
        ),
    )
    env = make_env(dataclasses.replace(scenario, world=still))
    params = env.params()
    _, state = env.reset(jax.random.key(0), params)
    step = jax.jit(env.step)
    for _ in range(2):
        _, state, reward, *_ = step(jax.random.key(0), state, jnp.asarray([1]), params)
    bodies = env.swarm(state, params).bodies
    assert bodies is not None
    friction, across = world.friction(swimmer), rod.friction[1]
    turning = rod.rotational_friction[0]
    force = friction * 7.3 / (1 + friction / across + friction * lever**2 / turning)
    assert float(bodies.angular_velocity[0]) == pytest.approx(force * lever / turning, rel=0.02)
    assert float(reward[0]) == pytest.approx(float(bodies.angular_velocity[0]), rel=1e-3)


def test_pushing_by_rule_turns_the_rod_and_random_actions_do_not() -> None:
    env = make_env("RotateRod-v0", colloids=14, horizon=40, start_radius=60.0)
    found = {
        name: evaluate_agent(env, make_agent(name, env.spec), episodes=3, seed=0)
        for name in ("random", "rod-pusher")
    }
    assert np.abs(found["random"].final_measure).mean() < 0.01
    assert found["rod-pusher"].final_measure.min() > 0.04
    # Paid by what each push does, rewards add up to the turning, but for thermal noise.
    total = found["rod-pusher"].returns * 14 / 100
    np.testing.assert_allclose(total, found["rod-pusher"].measure.sum(axis=1), rtol=0.05)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"box": (250.0,)}, "two box lengths"),
        ({"view": 7.0}, "view"),
        ({"rod_length": 9.0}, "slender"),
        ({"diffusion": 0.0}, "diffusion"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_scenario("RotateRod-v0", **options)
