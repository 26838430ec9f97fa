"""The engine on ESPResSo beside formulas and beside the JAX engine; skipped without ESPResSo.

A process has one System, which the engines of these tests take one after the other: every test
closes what it opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import swarmctl
from swarmctl.core.bodies import Body, Rod
from swarmctl.core.command import Command
from swarmctl.core.errors import DivergenceError, OverlapError, SwarmctlError, WallCrossedError
from swarmctl.core.fields import CallableFlow, HarmonicTrap, ShearFlow, UniformFlow
from swarmctl.core.grids import Chemical
from swarmctl.core.state import SwarmState
from swarmctl.core.walls import Circle, Segment
from swarmctl.core.world import Box, Fluid, Placement, Species, World
from swarmctl.engines import espresso_build
from swarmctl.engines.espresso_engine import EspressoEngine
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.testing import check

pytestmark = pytest.mark.skipif(
    not espresso_build.is_installed(), reason="ESPResSo (espressomd) is not installed"
)
COLD = Fluid(temperature=0.0)
Make = Callable[..., EspressoEngine]


@pytest.fixture
def make() -> Iterator[Make]:
    """Make engines that are closed after the test."""
    made: list[EspressoEngine] = []

    def one(world: World, interval: float = 0.1) -> EspressoEngine:
        made.append(EspressoEngine(world, interval))
        return made[-1]

    yield one
    for engine in made:
        engine.close()


def at(*points: tuple[float, ...], directors: tuple[tuple[float, ...], ...] = ()) -> Placement:
    return Placement("points", positions=points, directors=directors)


def one(position=(50.0, 50.0), director=(1.0, 0.0), **keys) -> Species:
    return Species(count=1, placement=at(position, directors=(director,)), **keys)


def repeat(engine: EspressoEngine, command: Command, steps: int) -> None:
    for _ in range(steps):
        engine.step(command)


def run(engine, command: Command, steps: int, seed: int = 0) -> list[SwarmState]:
    return [engine.reset(seed), *(engine.step(command).state for _ in range(steps))]


def test_it_keeps_the_contract_of_engines():
    report = check("espresso", colloids=4)
    assert not report.findings, str(report)
    assert len(report.passed) == 10


@pytest.mark.parametrize("steps", [1, 5, 100])
def test_a_turn_rate_turns_from_the_first_step_on(make, steps):
    # ESPResSo loses the torque of the first Brownian step after a change; 1 of 5 would be 20 %.
    world = World(Box((100.0, 100.0)), COLD, (one(),))
    engine = make(world, steps * world.time_step)
    engine.reset(0)
    angle = 0.0
    for rate in (2.0, -3.0, 5.0):
        state = engine.step(Command(turn_rate=np.full(1, rate))).state
        angle += rate * steps * world.time_step
        director = np.asarray(state.director)[0]
        assert np.arctan2(director[1], director[0]) == pytest.approx(angle, abs=1e-6)
        assert float(state.angular_velocity[0]) == pytest.approx(rate, rel=1e-4)


def test_a_swimmer_in_a_plane_swims_in_a_circle(make):
    # After a quarter turn at ω it stands v/ω ahead and v/ω aside.
    world = World(Box((100.0, 100.0)), COLD, (one(),))
    quarter = Command(speed=np.full(1, 5.0), turn_rate=np.full(1, np.pi))
    states = run(make(world), quarter, 5)
    moved = np.asarray(states[-1].position - states[0].position)[0]
    np.testing.assert_allclose(moved, 5 / np.pi, rtol=2e-3)


def test_a_swimmer_in_space_turns_about_a_vector(make):
    species = one((50.0,) * 3, (1.0, 0.0, 0.0))
    engine = make(World(Box((100.0,) * 3), COLD, (species,)))
    turn = np.asarray([[0.0, 0.0, np.pi]])
    states = run(engine, Command(speed=np.full(1, 5.0), turn_rate=turn), 5)
    np.testing.assert_allclose(np.asarray(states[-1].director)[0], [0, 1, 0], atol=1e-5)
    moved = np.asarray(states[-1].position - states[0].position)[0]
    np.testing.assert_allclose(moved, [5 / np.pi, 5 / np.pi, 0], rtol=2e-3, atol=1e-5)
    rolling = engine.step(Command(turn_rate=np.asarray([[0.0, 2.0, 0.0]]))).state
    np.testing.assert_allclose(np.asarray(rolling.angular_velocity)[0], [0, 2, 0], atol=1e-4)


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_heading_may_be_opposite_and_torque_turns_after_it(make, dimension):
    start = np.eye(dimension)[0]
    species = one((50.0,) * dimension, tuple(start))
    engine = make(World(Box((100.0,) * dimension), COLD, (species,)))
    engine.reset(0)
    back = Command(heading=-start[None], has_heading=np.ones(1, bool), speed=np.full(1, 4.0))
    state = engine.step(back).state
    np.testing.assert_allclose(np.asarray(state.director)[0], -start, atol=1e-6)
    np.testing.assert_allclose(np.asarray(state.velocity)[0], -4 * start, atol=1e-3)
    turn = np.full(1, 2.0) if dimension == 2 else np.asarray([[0.0, 0.0, 2.0]])
    state = engine.step(Command(turn_rate=turn)).state
    wanted = -np.asarray([np.cos(0.2), np.sin(0.2), 0.0])[:dimension]
    np.testing.assert_allclose(np.asarray(state.director)[0], wanted, atol=1e-6)


@pytest.mark.parametrize("aspect", [1.0, 3.0])
def test_a_velocity_is_done_whatever_the_friction(make, aspect):
    species = one(aspect_ratio=aspect, director=(1.0, 2.0))
    engine = make(World(Box((100.0, 100.0)), COLD, (species,)))
    state = run(engine, Command(velocity=np.asarray([[2.0, -1.0]])), 1)[-1]
    np.testing.assert_allclose(np.asarray(state.velocity)[0], [2, -1], rtol=1e-4)


@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_a_flow_carries_at_its_own_speed(make, boundary):
    # ESPResSo's FlowField would carry at half of it, beside the thermostat's friction.
    flow = UniformFlow((3.0, -1.0))
    engine = make(World(Box((40.0, 40.0), boundary), COLD, (Species(count=5),), flows=(flow,)))
    state = run(engine, Command(), 3)[-1]
    np.testing.assert_allclose(np.asarray(state.velocity), [[3, -1]] * 5, rtol=1e-4)


def test_shear_carries_and_turns(make):
    # At a distance y from the middle u = γ̇ y, and a sphere turns at -γ̇/2.
    species = Species(count=2, placement=at((50.0, 60.0), (50.0, 35.0)))
    world = World(Box((100.0, 100.0), "open"), COLD, (species,), flows=(ShearFlow(rate=0.2),))
    state = run(make(world), Command(), 2)[-1]
    np.testing.assert_allclose(np.asarray(state.velocity)[:, 0], [2, -3], rtol=1e-4)
    np.testing.assert_allclose(np.asarray(state.angular_velocity), -0.1, rtol=1e-4)


def test_a_flow_may_change_in_time(make):
    def rising(position, time):
        return np.asarray([1.0, 0.0]) * (1 + 0 * position[0]) * time

    world = World(
        Box((100.0, 100.0)), COLD, (one(),), flows=(CallableFlow(rising),), contacts=False
    )
    states = run(make(world), Command(), 3)
    speeds = [float(state.velocity[0, 0]) for state in states[1:]]
    np.testing.assert_allclose(speeds, [0.0, 0.1, 0.2], atol=1e-5)  # as each interval begins


def test_a_trap_pulls_back_exponentially(make):
    # x(t) = x₀ exp(-k t/γ); the explicit step shortens the decay by k dt/2γ.
    stiffness, time = 0.02, 0.5
    species = one((60.0, 47.0))
    trap = HarmonicTrap(stiffness, centre=(50.0, 50.0))
    world = World(Box((100.0, 100.0), "open"), COLD, (species,), potentials=(trap,))
    state = run(make(world), Command(), 5)[-1]
    left = np.exp(-stiffness * time / world.friction(species))
    place = np.asarray(state.position)[0] - 50
    np.testing.assert_allclose(place, [10 * left, -3 * left], rtol=2e-3)


def test_leaving_the_table_of_a_field_is_an_error(make):
    species = one((5.0, 10.0))
    flow = ShearFlow(rate=1.0)
    world = World(Box((20.0, 20.0), "open"), COLD, (species,), flows=(flow,))
    engine = make(world)
    engine.reset(0)
    away = Command(velocity=np.asarray([[5.0, 5.0]]))
    with pytest.raises(DivergenceError, match="not tabulated"):
        repeat(engine, away, 100)


@pytest.mark.parametrize(("pinned", "dimension"), [(False, 2), (True, 2), (False, 3)])
def test_a_rod_drifts_and_turns_as_its_friction_says(make, pinned, dimension):
    middle = (75.0,) * dimension
    torque = (3.0,) if dimension == 2 else (0.0, 0.0, 3.0)
    rod = Body(
        shape=Rod(30.0, 5.0),
        pinned=pinned,
        torque=torque,
        force=(0.0, 0.5, 0.0)[:dimension],
        friction=(0.4, 0.8, 0.8)[:dimension],
        rotational_friction=(60.0,) if dimension == 2 else (5.0, 60.0, 60.0),
        placement=at(middle, directors=((1.0, 0.0, 0.0)[:dimension],)),
    )
    far = one((10.0,) * dimension, (1.0, 0.0, 0.0)[:dimension])
    engine = make(World(Box((150.0,) * dimension), COLD, (far,), bodies=(rod,)))
    bodies = run(engine, Command(), 1)[-1].bodies
    turn = np.asarray(bodies.angular_velocity).reshape(-1)
    np.testing.assert_allclose(turn[-1], 3.0 / 60.0, rtol=1e-3)
    np.testing.assert_allclose(turn[:-1], 0, atol=1e-6)
    speed = 0.0 if pinned else 0.5 / 0.8
    np.testing.assert_allclose(np.asarray(bodies.velocity)[0, 1], speed, rtol=1e-3, atol=1e-7)
    arm = np.asarray(bodies.bead)[-1] - np.asarray(bodies.centre)[0]
    assert np.linalg.norm(arm) == pytest.approx(12.5, rel=1e-5)


def test_worlds_with_contacts_move_as_on_the_jax_engine(make):
    # Faces, thick and thin walls with a corner, a pillar in a dish, contacts, a rod and a substance
    # at 0 K: both engines take the same steps but for where in a step the director is taken.
    world = World(
        Box((80.0, 80.0), ("periodic", "hard")),
        COLD,
        (Species("a", 25, speed_max=4.0), Species("b", 5, radius=2.0, force=(0.02, 0.0))),
        walls=(
            Segment((15.0, 10.0), (35.0, 10.0), 2.0),
            Segment((35.0, 10.0), (35.0, 25.0), 2.0),
            Circle((20.0, 45.0), 5.0),
        ),
        bodies=(Body(shape=Rod(20.0, 4.0), placement=at((58.0, 50.0))),),
        chemicals=(Chemical("food", 10.0, 0.1, (1.0, 0.0), 4.0),),
        time_step=2e-4,
    )
    command = Command(speed=np.asarray([4.0] * 25 + [3.0] * 5))
    ours, theirs = (run(engine, command, 15) for engine in (make(world), JaxEngine(world)))
    np.testing.assert_array_equal(ours[0].position, theirs[0].position)
    final, wanted = ours[-1], theirs[-1]
    span = np.abs(np.asarray(wanted.position - theirs[0].position)).max()
    assert span > 3
    moved = [
        np.asarray(s.position) + np.asarray(s.image) * np.asarray(world.box.size)
        for s in (final, wanted)
    ]
    np.testing.assert_allclose(moved[0], moved[1], atol=0.02)
    np.testing.assert_allclose(final.bodies.centre, wanted.bodies.centre, atol=2e-3)
    np.testing.assert_allclose(final.bodies.angle, wanted.bodies.angle, atol=1e-3)
    pushes = np.asarray(wanted.bodies.push_force)
    assert np.abs(pushes).max() > 0.01
    np.testing.assert_allclose(final.bodies.push_force, pushes, atol=0.1 * np.abs(pushes).max())
    np.testing.assert_allclose(final.chemicals.value, wanted.chemicals.value, rtol=0.05, atol=1e-3)


def test_colloids_and_rods_diffuse_as_their_friction_says(make):
    # Free displacements of an interval are Gaussian: the variance of n of them is known to √(2/n).
    count, interval = 500, 0.1
    spheres = Species("sphere", count, speed_max=0)
    spheroids = Species("spheroid", count, aspect_ratio=3.0, speed_max=0)
    world = World(Box((1000.0, 1000.0)), species=(spheres, spheroids), contacts=False)
    before, after = run(make(world, interval), Command(), 1)
    moved = np.asarray(after.velocity, float) * interval
    along = (moved * np.asarray(before.director)).sum(axis=1)
    thermal = world.fluid.thermal_energy
    spread = np.sqrt(2 / count)
    sphere = moved[:count].var() / (2 * interval)
    assert sphere == pytest.approx(world.diffusion(spheres), rel=3 * spread / np.sqrt(2))
    spheroid = (along[count:] ** 2).mean() / (2 * interval)
    # It turns by 0.1 rad or so meanwhile, which mixes 1 % of the directions.
    assert spheroid == pytest.approx(
        thermal / world.friction_along(spheroids), rel=3 * spread + 0.02
    )
    turned = np.asarray(after.angular_velocity, float)[:count] * interval
    rate = (turned**2).mean() / (2 * interval)
    assert rate == pytest.approx(world.rotational_diffusion(spheres), rel=3 * spread)


def test_with_inertia_a_force_is_followed_after_a_while(make):
    # x(t) = v (t - τ (1 - exp(-t/τ))) with τ = m/γ.
    species = one(mass=2e-3, inertia=2e-3, force=(0.05, 0.0))
    world = World(Box((100.0, 100.0)), COLD, (species,), dynamics="langevin", contacts=False)
    state = run(make(world), Command(), 2)[-1]
    tau, speed = 2e-3 / world.friction(species), 0.05 / world.friction(species)
    wanted = speed * (0.2 - tau * (1 - np.exp(-0.2 / tau)))
    assert float(state.position[0, 0]) - 50 == pytest.approx(wanted, rel=0.01)


def test_gay_berne_keeps_spheroids_apart(make):
    # Pushed together side by side, they stop about a width apart.
    species = Species(
        count=2,
        aspect_ratio=2.0,
        placement=at((50.0, 50.0), (50.0, 54.1), directors=((1.0, 0.0), (1.0, 0.0))),
    )
    world = World(Box((100.0, 100.0)), COLD, (species,), contact_energy=0.05)
    engine = make(world)
    engine.reset(0)
    together = Command(velocity=np.asarray([[0.0, 1.0], [0.0, -1.0]]))
    for _ in range(20):
        state = engine.step(together).state
    gap = float(state.position[1, 1] - state.position[0, 1])
    assert gap == pytest.approx(2.0, rel=0.1)


def test_what_goes_wrong_is_an_error_and_needs_a_reset(make):
    species = Species(count=2, speed_max=1000.0, placement=at((47.0, 50.0), (53.0, 50.0)))
    world = World(
        Box((100.0, 100.0), "hard"), COLD, (species,), contact_energy=1e-6, time_step=1e-3
    )
    engine = make(world)
    engine.reset(0)
    together = Command(velocity=np.asarray([[8.0, 0.0], [-8.0, 0.0]]))
    with pytest.raises(OverlapError):
        repeat(engine, together, 9)
    with pytest.raises(SwarmctlError, match="reset"):
        engine.step(Command())
    engine.reset(0)
    with pytest.raises(WallCrossedError, match="violated"):
        engine.step(Command(velocity=np.asarray([[0.0, 1000.0], [0.0, 0.0]])))
    assert int(engine.reset(0).step) == 0


def test_a_second_engine_is_refused_until_the_first_is_closed(make):
    world = World(species=(Species(count=1),))
    first, second = make(world), make(world)
    first.reset(0)
    with pytest.raises(SwarmctlError, match="one System per process"):
        second.reset(0)
    first.close()
    assert int(second.reset(0).step) == 0


def test_episodes_run_behind_gymnasium():
    env = swarmctl.make("Chemotaxis-v0", engine="espresso", colloids=3, horizon=4)
    env.reset(seed=1)
    for _ in range(4):
        observation, reward, _, truncated, _ = env.step(env.action_space.sample() * 0)
    assert truncated
    assert np.isfinite(observation).all()
    assert np.isfinite(reward)
    env.close()
