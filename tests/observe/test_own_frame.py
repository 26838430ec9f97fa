"""What holds for everything that is seen in the own frame: symmetries, masks, and the contracts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.bodies import Body, Rod
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.world import Box, Species, World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.observe.bodies import BodyFrame
from swarmctl.observe.captures import FreeOnly
from swarmctl.observe.cones import VisionCones
from swarmctl.observe.goals import GoalDirection, wall_distance
from swarmctl.observe.motion import Director, OwnSpecies, Position, Velocity
from swarmctl.observe.neighbours import (
    GroupCentre,
    LocalDensity,
    Neighbours,
    ParticleSensing,
    PolarOrder,
)
from swarmctl.observe.observables import Joined
from swarmctl.testing.piece_suite import check_observable

OPEN = Space(jnp.asarray([100.0, 100.0]), (False, False))
NUMBER = jnp.asarray
SOCIAL = Joined(
    (
        ParticleSensing(NUMBER(5.0), NUMBER(1.0)),
        Neighbours(NUMBER(30.0), 3),
        LocalDensity(NUMBER(30.0), NUMBER([1.0, 2.0])),
        PolarOrder(NUMBER(25.0)),
        GroupCentre(NUMBER(jnp.inf), NUMBER(10.0)),
        VisionCones(NUMBER(5.0), NUMBER(40.0), NUMBER(1.0), 4, (0, 1)),
    )
)


def crowd(swarm: Callable[..., SwarmState], seed: int = 0, count: int = 9) -> SwarmState:
    rng = np.random.default_rng(seed)
    species = jnp.asarray(rng.integers(0, 2, count), jnp.int32)
    place = rng.uniform(30, 70, (count, 2))
    return swarm(place, rng.uniform(-np.pi, np.pi, count), species=species)


@jax.jit
def first_look(observable: Any, state: SwarmState, space: Space) -> Any:
    return observable.observe(state, observable.init(state, space), space)[0]


def look(observable: Any, state: SwarmState, space: Space = OPEN) -> np.ndarray:
    return np.asarray(first_look(observable, state, space))


def test_turning_and_moving_the_whole_swarm_changes_nothing(swarm: Any) -> None:
    state, turn = crowd(swarm), 1.234
    rotation = jnp.asarray([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    moved = dataclasses.replace(
        state,
        position=(state.position - 50) @ rotation + jnp.asarray([40.0, 65.0]),
        director=state.director @ rotation,
    )
    np.testing.assert_allclose(look(SOCIAL, moved), look(SOCIAL, state), atol=2e-4)


def test_colloids_are_alike_and_the_absent_do_not_count(swarm: Any) -> None:
    """Rows follow a permutation, and a swarm with an absent colloid is the swarm without it."""
    state = crowd(swarm)
    order = np.random.default_rng(1).permutation(9)
    mixed = swarm(
        state.position[order],
        np.arctan2(state.director[order, 1], state.director[order, 0]),
        species=state.species[order],
    )
    np.testing.assert_allclose(look(SOCIAL, mixed), look(SOCIAL, state)[order], atol=1e-4)
    lost = dataclasses.replace(
        state,
        present=state.present.at[8].set(False),
        position=state.position.at[8].set(jnp.nan),
    )
    angle = np.arctan2(state.director[:8, 1], state.director[:8, 0])
    fewer = swarm(state.position[:8], angle, species=state.species[:8])
    np.testing.assert_allclose(look(SOCIAL, lost)[:8], look(SOCIAL, fewer), atol=1e-5)
    assert not look(SOCIAL, lost)[8].any()


def test_a_small_swarm_by_hand(swarm: Any) -> None:
    """Seen from the origin looking along x: one 3 µm ahead heading left, one 4 µm to the left."""
    state = swarm([[0, 0], [3, 0], [0, 4]], [0, math.pi / 2, math.pi])
    seen = look(Neighbours(NUMBER(10.0), 3), state)[0].reshape(3, 5)
    np.testing.assert_allclose(seen[0], [0.3, 0, 0, 1, 1], atol=1e-6)
    np.testing.assert_allclose(seen[1], [0, 0.4, -1, 0, 1], atol=1e-6)
    np.testing.assert_array_equal(seen[2], 0)
    signal = look(ParticleSensing(NUMBER(2.0), NUMBER(3.0)), state)[:, 0]
    np.testing.assert_allclose(signal[0], 3 * (2 / 5 + 2 / 6), rtol=1e-6)
    density = look(LocalDensity(NUMBER(3.5), NUMBER(0.7)), state)[:, 0]
    np.testing.assert_allclose(density, [0.04, 0.04, 0], atol=1e-6)
    order = look(PolarOrder(NUMBER(3.5)), state)
    np.testing.assert_allclose(order, [[0.5, 0.5], [0.5, -0.5], [1, 0]], atol=1e-6)
    centre = look(GroupCentre(NUMBER(jnp.inf), NUMBER(5.0)), state)[0]
    np.testing.assert_allclose(centre, [0.6, 0.8, 0.5], atol=1e-6)


def test_the_change_of_a_signal_needs_a_memory(swarm: Any) -> None:
    observable = ParticleSensing(NUMBER(2.0), NUMBER(1.0), change=True)
    far, near = swarm([[0, 0], [6, 0]]), swarm([[0, 0], [2, 0]])
    first, memory = observable.observe(far, observable.init(far, OPEN), OPEN)
    then, _ = observable.observe(near, memory, OPEN)
    np.testing.assert_allclose([first[0, 0], then[0, 0]], [0, 0.5 - 0.25], atol=1e-7)


def test_neighbours_are_found_across_a_periodic_face(swarm: Any) -> None:
    space = Space(jnp.asarray([100.0, 100.0]), (True, False))
    state = swarm([[1, 50], [98, 50]])
    seen = look(Neighbours(NUMBER(10.0), 1), state, space)
    np.testing.assert_allclose(seen[:, 0], [-0.3, 0.3], atol=1e-5)
    assert not look(Neighbours(NUMBER(10.0), 1), state).any()


WORLD = World(
    Box((60.0, 60.0), "hard"),
    species=(Species(count=3, speed_max=2.0), Species(name="other", count=2, speed_max=3.0)),
    time_step=5e-4,
    bodies=(Body(shape=Rod(length=20.0, diameter=4.0)),),
)


def test_all_observables_hold_the_contracts() -> None:
    every = Joined(
        (
            Position(NUMBER(60.0)),
            Director(),
            Velocity(NUMBER(2.0)),
            OwnSpecies(2),
            SOCIAL,
            ParticleSensing(NUMBER(5.0), NUMBER(1.0), 1, True),
            Neighbours(NUMBER(30.0), 7, 1),
            VisionCones(NUMBER(2 * math.pi), NUMBER(40.0), NUMBER(1.0), 5, bodies=True),
            GoalDirection(NUMBER([10.0, 10.0]), NUMBER(5.0)),
            wall_distance(WORLD, 30.0),
            BodyFrame(NUMBER(10.0)),
            FreeOnly(PolarOrder(NUMBER(9.0)), NUMBER(3.0)),
        )
    )
    report = check_observable(every, WORLD)
    assert report.ok, str(report)


def test_what_is_not_there_is_refused_with_both_sides() -> None:
    spec = JaxEngine(WORLD, 0.1).spec
    solid = JaxEngine(World(Box((60.0, 60.0, 60.0))), 0.1).spec
    for observable in (ParticleSensing(1.0, 1.0, 2), Neighbours(9.0, 1, 2)):
        with pytest.raises(ConfigError, match=r"species 2, .* 1 'other'"):
            observable.check(spec)
    with pytest.raises(ConfigError, match=r"BodyFrame reads body 1, .* 0 'rod'"):
        BodyFrame(1.0, 1).check(spec)
    with pytest.raises(ConfigError, match="no bodies"):
        VisionCones(1.0, 9.0, 1.0, 3, bodies=True).check(dataclasses.replace(spec, bodies=()))
    with pytest.raises(CapabilityError, match=r"plane; engine 'jax' is 3D"):
        PolarOrder(9.0).check(solid)
    with pytest.raises(ConfigError, match="3 species"):
        OwnSpecies(3).check(spec)
    with pytest.raises(ConfigError, match="shape"):
        GoalDirection(jnp.zeros(3), 1.0).check(spec)
    ParticleSensing(1.0, 1.0).check(solid)
