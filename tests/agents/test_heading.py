"""Steering to a direction or a point: mean drifts and arrival times known in closed form."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.classical.heading import ConstantHeadingConfig, SteerToPointConfig
from swarmctl.agents.classical.steering import best_acceptance
from swarmctl.agents.options import make_agent
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.world import Box, Placement, Species, World

KEY = jax.random.key(0)
KAPPA = 5.0


def bessel_ratio(gamma: float) -> float:
    """I₁(Γ)/I₀(Γ) by the integrals over angles."""
    angle = np.linspace(0, math.pi, 20_001)
    weight = np.exp(gamma * np.cos(angle))
    return float((weight * np.cos(angle)).sum() / weight.sum())


def swim_or_turn(kappa: float) -> float:
    theta = best_acceptance(kappa)
    return math.sin(theta) / (theta + (1 - math.exp(-kappa * (math.pi - theta))) / kappa)


@pytest.mark.parametrize(
    ("dimension", "keys", "drift"),
    [
        (2, {"rule": "on-off"}, 1 / math.pi),
        (3, {"rule": "on-off"}, 1 / 4),
        (2, {"rule": "swim-or-turn", "acceptance": best_acceptance(KAPPA)}, swim_or_turn(KAPPA)),
        (2, {"rule": "bang-bang"}, KAPPA**2 / (1 + KAPPA**2) / math.tanh(KAPPA * math.pi / 2)),
        (2, {"rule": "torque"}, bessel_ratio(KAPPA)),
    ],
    ids=["on-off in 2D", "on-off in 3D", "swim or turn", "bang-bang", "torque"],
)
def test_drift_towards_a_far_point(
    dimension: int, keys: dict[str, Any], drift: float, drive: Any, thermal: float
) -> None:
    """κ = 5, D_r = 1/s, v = 1 µm/s; decisions every 0.004 s, after 3 s. Validation case 9; 2 %."""
    species = Species(
        count=1000,
        friction=thermal / 1e-6,
        rotational_friction=thermal,
        speed_max=1.0,
        turn_rate_max=KAPPA,
    )
    box = Box((100.0,) * dimension, "open")
    world = World(box, species=(species,), time_step=0.004, contacts=False)

    def measure(state: Any, command: Any) -> Any:
        return jnp.mean(state.velocity[:, 0])

    velocity = drive(world, 0.004, ConstantHeadingConfig(**keys)).run(3500, measure)[750:]
    assert velocity.mean() == pytest.approx(drift, rel=0.02)


@pytest.mark.parametrize(("dimension", "time"), [(2, 9.5756), (3, 10.264)])
def test_arrival_under_perfect_steering(
    dimension: int, time: float, drive: Any, thermal: float
) -> None:
    """r₀ = 20, a = 2, v = 2, D = 1: T = (r₀ - a)/v + (D/v²) ln(r₀/a) in 2D. A walk seen at
    intervals dt is absorbed at a + 0.5826 √(2D dt). Validation case 8; 1 %.
    """
    dt, count, side = 0.01, 4000, 200.0
    species = Species(
        count=count,
        friction=thermal,
        rotational_friction=1e6,
        speed_max=2.0,
        placement=Placement("ball", radius=20.0002, inner_radius=19.9998),
    )
    box = Box((side,) * dimension, "open")
    world = World(box, species=(species,), time_step=dt, contacts=False)

    def measure(state: Any, command: Any) -> Any:
        return jnp.sqrt(jnp.sum((state.position - side / 2) ** 2, axis=-1))

    away = drive(world, dt, SteerToPointConfig()).run(2600, measure)[:, 0]
    there = away <= 2 + 0.5826 * math.sqrt(2 * dt)
    assert there.any(axis=0).all()
    assert (dt * there.argmax(axis=0)).mean() == pytest.approx(time, rel=0.01)


def test_turns_go_the_short_way_in_2d_and_3d(controller_spec: Any, controller_inputs: Any) -> None:
    """To (1, 0): from 0.05 rad it turns by exactly that, from 2 rad at the highest rate, 1/s."""
    agent = make_agent("constant-heading", controller_spec(3), rule="turn")
    command = agent.act(controller_inputs(np.full((3, 2), 50.0), [0.05, 2.0, -2.0]), (), KEY)[0]
    assert command.turn_rate.tolist() == pytest.approx([-0.5, -1.0, 1.0])
    solid = make_agent("constant-heading", controller_spec(1, dimension=3), rule="bang-bang")
    command = solid.act(controller_inputs([[50.0] * 3], [[0.0, 1.0, 0.0]]), (), KEY)[0]
    assert command.turn_rate[0].tolist() == pytest.approx([0, 0, -1], abs=1e-6)


def test_it_rests_at_the_point_and_leaves_the_absent_alone(
    controller_spec: Any, controller_inputs: Any
) -> None:
    agent = make_agent("steer-to-point", controller_spec(3), goal=(50, 50), arrival=2.0)
    inputs = controller_inputs(
        [[49, 50], [20, 50], [math.nan, math.nan]],
        [0.0, 0.0, 0.0],
        present=jnp.asarray([True, True, False]),
    )
    command = agent.act(inputs, (), KEY)[0]
    assert command.speed.tolist() == [0.0, 2.0, 0.0]
    assert command.has_heading.tolist() == [True, True, False]
    assert np.isfinite(command.heading).all()


def test_they_refuse_what_does_not_fit(controller_spec: Any) -> None:
    lamp = controller_spec(2, capabilities=frozenset({"speed", "turn_rate"}))
    with pytest.raises(CapabilityError, match="constant-heading commands heading"):
        make_agent("constant-heading", lamp)
    make_agent("constant-heading", lamp, rule="turn")
    with pytest.raises(ConfigError, match="no length"):
        make_agent("constant-heading", controller_spec(2), direction=(0, 0))
    with pytest.raises(ConfigError, match="direction"):
        make_agent("constant-heading", controller_spec(2), direction=(1, 0, 0))
    with pytest.raises(ConfigError, match="goal"):
        make_agent("steer-to-point", controller_spec(2), goal=(math.nan, 0))
    for name in ("speed", "turn_rate", "acceptance", "arrival"):
        with pytest.raises(ConfigError, match=name):
            make_agent("steer-to-point", controller_spec(2), **{name: math.nan})
