"""The Vicsek model: who counts, the width of the noise, order and disorder."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
import pytest

from swarmctl.agents.options import make_agent
from swarmctl.core.errors import CapabilityError, ConfigError


def headings(agent: Any, inputs: Any, seed: int = 0) -> np.ndarray:
    command = agent.act(inputs, (), jax.random.key(seed))[0]
    return np.arctan2(command.heading[:, 1], command.heading[:, 0])


def test_without_noise_it_takes_the_mean_direction_of_those_near(
    controller_spec: Any, controller_inputs: Any
) -> None:
    agent = make_agent("vicsek", controller_spec(3), noise=0.0, reach=20.0)
    angles = np.array([0.2, 1.4, -2.0])
    inputs = controller_inputs([[10, 10], [25, 10], [90, 90]], angles)
    assert headings(agent, inputs) == pytest.approx([0.8, 0.8, -2.0], abs=1e-6)


def test_noise_is_uniform_of_the_given_width(controller_spec: Any, controller_inputs: Any) -> None:
    """Mean 0 and variance η²/12, each within four standard errors."""
    n, eta = 1000, 1.5
    agent = make_agent("vicsek", controller_spec(n), noise=eta, reach=1e-6)
    inputs = controller_inputs(np.random.default_rng(1).uniform(0, 100, (n, 2)), np.zeros(n))
    kicks = headings(agent, inputs)
    assert np.abs(kicks).max() <= eta / 2 * (1 + 1e-5)
    assert abs(kicks.mean()) < 4 * eta / math.sqrt(12 * n)
    assert kicks.var() == pytest.approx(eta**2 / 12, rel=4 * math.sqrt(0.8 / n))


@pytest.mark.parametrize(("eta", "order"), [(0.0, 1.0), (2 * math.pi, math.sqrt(math.pi / 400))])
def test_order_parameter_of_all_that_see_one_another(
    eta: float, order: float, controller_spec: Any, controller_inputs: Any
) -> None:
    """v_a = 1 without noise; √(π/4N) on average for η = 2π, N = 100, within four errors."""
    n, repeats = 100, 200
    agent = make_agent("vicsek", controller_spec(n), noise=eta, reach=200.0)
    rng = np.random.default_rng(2)
    inputs = controller_inputs(rng.uniform(0, 100, (n, 2)), rng.uniform(-np.pi, np.pi, n))
    act = jax.jit(lambda key: agent.act(inputs, (), key)[0].heading)
    vectors = np.asarray(jax.vmap(act)(jax.random.split(jax.random.key(3), repeats)))
    values = np.linalg.norm(vectors.mean(1), axis=-1)
    assert values.mean() == pytest.approx(order, abs=4 * 0.463 / math.sqrt(n * repeats) + 1e-5)


def test_it_refuses_what_does_not_fit(controller_spec: Any) -> None:
    lamp = controller_spec(2, capabilities=frozenset({"speed", "turn_rate"}))
    with pytest.raises(CapabilityError, match="vicsek commands heading"):
        make_agent("vicsek", lamp)
    make_agent("vicsek", lamp, steer="turn")
    for name in ("noise", "reach", "speed"):
        with pytest.raises(ConfigError, match=name):
            make_agent("vicsek", controller_spec(2), **{name: math.nan})
