"""The rule of Lavergne et al. 2019: what is perceived, and the groups it forms."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.classical.lavergne import LavergneConfig, central_perception
from swarmctl.agents.options import make_agent
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.world import Box, Placement, Species, World

KEY = jax.random.key(0)


def swims(agent: Any, inputs: Any) -> list[bool]:
    return [bool(s > 0) for s in agent.act(inputs, (), KEY)[0].speed]


def test_it_swims_where_the_sum_of_inverse_distances_in_the_cone_reaches_the_threshold(
    controller_spec: Any, controller_inputs: Any
) -> None:
    """One ahead at 10 µm, one at 50° at 20 µm: 1/(20π) within 45°, 3/(40π) within 60°."""
    far = 20 * np.array([math.cos(math.radians(50)), math.sin(math.radians(50))])
    places = [[50, 50], [60, 50], [50 + far[0], 50 + far[1]]]
    inputs = controller_inputs(places, [0.0, math.pi / 2, 0.0])
    for degrees, perceived in ((45, 1 / (20 * math.pi)), (60, 3 / (40 * math.pi))):
        for factor, swimming in ((0.99, True), (1.01, False)):
            agent = make_agent(
                "lavergne",
                controller_spec(3),
                half_angle=math.radians(degrees),
                threshold=factor * perceived,
            )
            assert swims(agent, inputs)[0] is swimming
    everything = make_agent("lavergne", controller_spec(3), half_angle=math.pi, threshold=1e-9)
    assert swims(everything, inputs) == [True, True, True]


def test_central_perception_is_what_is_seen_in_the_middle_of_a_uniform_disc() -> None:
    """Σ 1/(2πr) over a Poisson disc, averaged over discs, within three standard errors."""
    rng = np.random.default_rng(3)
    n, radius, discs, alpha = 75, 106.0, 2000, math.pi / 3
    r = radius * np.sqrt(rng.uniform(size=(discs, n)))
    inside = np.abs(rng.uniform(-math.pi, math.pi, size=r.shape)) < alpha
    sums = np.where(inside, 1 / (2 * math.pi * r), 0).sum(1)
    error = sums.std() / math.sqrt(discs)
    assert abs(sums.mean() - central_perception(alpha, n, radius)) < 3 * error
    assert error < 0.05 * sums.mean()


def test_it_refuses_what_it_cannot_do(controller_spec: Any) -> None:
    with pytest.raises(CapabilityError, match="lavergne commands speed"):
        make_agent("lavergne", controller_spec(2, capabilities=frozenset({"velocity"})))
    for name in ("half_angle", "threshold", "ratio", "start_radius", "speed"):
        with pytest.raises(ConfigError, match=name):
            make_agent("lavergne", controller_spec(2), **{name: math.nan})


def test_narrow_cones_hold_a_group_together(drive: Any, thermal: float) -> None:
    """Validation case 12 at 20 τ_R, where the group of α = π/4 is near its stationary state."""
    species = Species(
        count=75,
        radius=2.14,
        friction=thermal / 0.085,
        rotational_friction=thermal * 107,
        speed_max=0.2,
        placement=Placement("ball", radius=106.0),
    )
    world = World(Box((600.0, 600.0), "open"), species=(species,), time_step=0.05)

    def measure(state: Any, command: Any) -> Any:
        offset = state.position - state.position.mean(0)
        return jnp.sqrt((offset**2).sum(-1).mean()), (command.speed > 0).mean()

    rms, active = drive(world, 1.0, LavergneConfig(), swarms=4).run(2600, measure)
    assert rms[0].mean() == pytest.approx(106 / math.sqrt(2), rel=0.06)
    assert rms[2200:].mean() == pytest.approx(37.5, rel=0.1)
    assert active[2200:].mean() == pytest.approx(0.57, abs=0.05)
