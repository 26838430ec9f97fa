"""Turning and bringing bodies, and the order of groups: rewards against formulas."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.bodies import Body, Rod
from swarmctl.core.errors import ConfigError
from swarmctl.core.state import Space
from swarmctl.core.world import Box, World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.tasks.bodies import RotateBody, TransportBody, transport
from swarmctl.tasks.order import Cohesion, GatherAt, SwirlOrder, swirl

SPACE = Space(jnp.asarray([200.0, 200.0]), (True, True))
OFFSETS = np.arange(-10.0, 11.0, 5.0)


@pytest.mark.parametrize("direction", ["ccw", "cw"])
def test_turning_is_credited_by_torque_equally_or_by_the_own_push(
    swarm: Any, rod: Any, direction: Any
) -> None:
    """Three colloids with torques 6, -2 and 0 pN µm turn a rod at 0.4 rad/s."""
    body = rod(
        (50.0, 50.0),
        0.0,
        OFFSETS,
        3,
        angular_velocity=jnp.asarray([0.4]),
        push_torque=jnp.asarray([6.0, -2.0, 0.0]),
    )
    state, way = swarm([[0, 0], [9, 9], [30, 0]], bodies=body), 1 if direction == "ccw" else -1
    for credit, wanted in (
        ("equal", np.full(3, 0.4 / 3)),
        ("torque", 0.4 * np.asarray([6, -2, 0]) / 8),
        ("own", np.asarray([6, -2, 0]) / 10),
    ):
        task = RotateBody(jnp.asarray(5.0), jnp.asarray(10.0), direction=direction, credit=credit)
        reward, done, _ = task.evaluate(state, task.init(state, SPACE), SPACE)
        np.testing.assert_allclose(reward, 5 * way * wanted, rtol=1e-5)
        assert not done.any()


def test_a_window_averages_the_last_intervals(swarm: Any, rod: Any) -> None:
    task = RotateBody(jnp.asarray(1.0), credit="equal", window=3)
    turns, paid, memory = [0.3, 0.6, 0.0, 0.9, -0.3], [], None
    for turn in turns:
        body = rod((50.0, 50.0), 0.0, OFFSETS, 1, angular_velocity=jnp.asarray([turn]))
        state = swarm([[0, 0]], bodies=body)
        memory = task.init(state, SPACE) if memory is None else memory
        reward, _, memory = task.evaluate(state, memory, SPACE)
        paid.append(float(reward[0]))
    np.testing.assert_allclose(paid, [0.1, 0.3, 0.3, 0.5, 0.2], rtol=1e-5)


ROD_WORLD = World(Box((200.0, 200.0)), bodies=(Body(shape=Rod(25.0, 5.0)),))


def test_a_rod_has_arrived_either_way_round(swarm: Any, rod: Any) -> None:
    """The error is the mean distance of the beads; the two ends of a rod are alike."""
    task = transport(ROD_WORLD, (60.0, 50.0), 0.0, 2.0, 1.0, 9.0)
    far = swarm([[0, 0], [9, 9]], bodies=rod((50.0, 50.0), 0.0, OFFSETS, 2))
    near = swarm([[0, 0], [9, 9]], bodies=rod((58.5, 50.0), math.pi, OFFSETS, 2))
    memory = task.init(far, SPACE)
    np.testing.assert_allclose(memory, 10.0, rtol=1e-5)
    reward, done, memory = task.evaluate(near, memory, SPACE)
    np.testing.assert_allclose(reward, (10 - 1.5) / 2 + 9, rtol=1e-5)
    assert done.all()
    turned = swarm([[0, 0], [9, 9]], bodies=rod((60.0, 50.0), math.pi / 2, OFFSETS, 2))
    error, largest = task.errors(turned, turned.bodies.bead, SPACE)
    np.testing.assert_allclose([error, largest], [math.sqrt(2) * 6, math.sqrt(2) * 10], rtol=1e-5)
    assert not task.evaluate(turned, memory, SPACE)[1].any()


def test_own_pushes_pay_what_the_body_would_have_lost(swarm: Any, rod: Any) -> None:
    """Along the rod F/γ dt, about its middle τ/γ_r dt: what the error would have been without."""
    task = transport(ROD_WORLD, (70.0, 50.0), 0.0, 0.1, 1.0, 0.0, credit="own")
    along, about = float(task.friction[0]), float(task.rotational_friction)
    body = rod(
        (50.0, 50.0),
        0.0,
        OFFSETS,
        3,
        push_force=jnp.asarray([[2 * along, 0.0], [-along, 0.0], [0.0, 0.0]]),
        push_torque=jnp.asarray([0.0, 0.0, 0.2 * about]),
    )
    state = swarm([[0, 0], [9, 9], [30, 0]], bodies=body)
    reward, _, _ = task.evaluate(state, task.init(state, SPACE), SPACE)
    turn = 0.5 * 0.2  # rad, over an interval of 0.5 s
    bead = np.stack([OFFSETS * np.cos(turn) - 20, -OFFSETS * np.sin(turn)], axis=-1)
    moved = np.hypot(bead[:, 0] - OFFSETS, bead[:, 1]).mean() - 20
    np.testing.assert_allclose(reward, [1.0, -0.5, moved], rtol=2e-3, atol=1e-4)


def test_bodies_that_are_not_there_or_cannot_be_told_apart_are_refused() -> None:
    spec = JaxEngine(ROD_WORLD, 0.1).spec
    two = World(Box((200.0, 200.0)), bodies=(Body(shape=Rod(25.0, 5.0), count=2),))
    with pytest.raises(ConfigError, match="body 1"):
        RotateBody(1.0, body=1).check(spec)
    with pytest.raises(ConfigError, match=r"needs a world with one body, .* has 2"):
        RotateBody(1.0).check(JaxEngine(two, 0.1).spec)
    with pytest.raises(ConfigError, match="rotational friction"):
        RotateBody(1.0, credit="own").check(spec)
    with pytest.raises(ConfigError, match="5 beads"):
        TransportBody(jnp.zeros((1, 3, 2)), *(jnp.ones(()),) * 5).check(spec)
    with pytest.raises(ConfigError, match="exactly one body"):
        transport(two, (0.0, 0.0), 0.0, 1.0, 1.0, 1.0)


def test_a_ring_swirls_by_its_angle_and_pays_for_the_majority(swarm: Any) -> None:
    """Colloids on a ring that head at an angle χ from outwards: (r̂ × n̂)_z = sin χ."""
    angle = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    ring = 100 + 10 * np.stack([np.cos(angle), np.sin(angle)], -1)
    for chi in (0.5, -2.0):
        state = swarm(ring % 200, angle + chi)
        np.testing.assert_allclose(swirl(state, SPACE), np.sin(chi), atol=1e-5)
        for direction, sign in (("ccw", 1), ("cw", -1), ("either", np.sign(np.sin(chi)))):
            reward, _, _ = SwirlOrder(jnp.asarray(2.0), direction).evaluate(state, (), SPACE)
            np.testing.assert_allclose(reward, 2 * sign * np.sin(chi), atol=1e-5)
    # One that goes against the others pays for it, or lowers what the team gets.
    mixed = swarm(ring, angle + np.where(np.arange(8) == 3, -np.pi / 2, np.pi / 2))
    own, _, _ = SwirlOrder(jnp.asarray(1.0)).evaluate(mixed, (), SPACE)
    np.testing.assert_allclose(own, np.where(np.arange(8) == 3, -1, 1), atol=1e-5)
    team, _, _ = SwirlOrder(jnp.asarray(1.0), team=True).evaluate(mixed, (), SPACE)
    np.testing.assert_allclose(team, 0.75, atol=1e-5)


def test_a_swirl_across_a_periodic_face_is_the_same(swarm: Any) -> None:
    angle = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    ring = 10 * np.stack([np.cos(angle), np.sin(angle)], -1)
    for centre in (0.0, 100.0, 197.0):
        state = swarm((ring + centre) % 200, angle + 1.0)
        np.testing.assert_allclose(swirl(state, SPACE), np.sin(1.0), atol=1e-4)


def test_cohesion_and_gathering_pay_for_coming_together(swarm: Any) -> None:
    before, after = swarm([[0, 0], [6, 0], [0, 6]]), swarm([[0, 0], [2, 0], [0, 6]])
    cohesion = Cohesion(jnp.asarray(2.0), jnp.asarray(10.0))
    reward, _, _ = cohesion.evaluate(after, cohesion.init(before, SPACE), SPACE)
    far = [2 / (2 + math.hypot(x, 6)) for x in (6, 2)]
    wanted = [0.5 * (1 / 2 - 1 / 4), 0.5 * (1 / 2 - 1 / 4 + far[1] - far[0])]
    np.testing.assert_allclose(reward[:2], 10 * np.asarray(wanted), rtol=1e-4)
    gather = GatherAt(*(jnp.asarray(v) for v in ([0.0, 0.0], 3.0, 2.0, 0.5)))
    reward, _, _ = gather.evaluate(after, gather.init(before, SPACE), SPACE)
    np.testing.assert_allclose(reward, [0.5, 2 * 3 + 0.5, 0], atol=1e-5)
