"""Contacts: WCA forces against the potential, Newton's third law, Boltzmann statistics, hard faces.

With c = r_i + r_j = 2^(1/6) sigma and u = (c/r)², 4 eps ((sigma/r)^12 - (sigma/r)^6) + eps =
eps (u³ - 1)².
"""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize

from swarmctl.core.command import Command
from swarmctl.core.errors import ConfigError
from swarmctl.core.world import Box, Fluid, Placement, Species, World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.physics import contacts
from swarmctl.physics.motion import Drive, MotionState, interval_motion
from swarmctl.physics.parameters import MotionConfig, MotionParams, motion_params

PAIR_PATHS = pytest.mark.parametrize("limit", [10**9, 0], ids=["all pairs", "rows"])


def textbook_energy(r: float | np.ndarray, contact: float, energy: float) -> float | np.ndarray:
    """WCA energy as it stands in Weeks, Chandler, Andersen (1971), with 2^(1/6) sigma = contact."""
    ratio = (contact * 2 ** (-1 / 6) / r) ** 6
    return np.where(r < contact, 4 * energy * (ratio**2 - ratio) + energy, 0.0)


def textbook_force(r: float, contact: float, energy: float) -> float:
    ratio = (contact * 2 ** (-1 / 6) / r) ** 6
    return 24 * energy * (2 * ratio**2 - ratio) / r if r < contact else 0.0


def factor(r: float, contact: float, energy: float) -> float:
    value, _ = contacts.wca_factor(jnp.asarray(r) ** 2, jnp.asarray(contact), jnp.asarray(energy))
    return float(value)


@pytest.mark.parametrize("fraction", [0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999])
def test_force_is_the_textbook_one(fraction: float) -> None:
    contact, energy = 3.1, 0.37
    r = fraction * contact
    # near contact u³ - 1 cancels in float32: relative error 1e-7/(1 - r/c)
    tolerance = 2e-6 / (1 - fraction)
    assert factor(r, contact, energy) * r == pytest.approx(
        textbook_force(r, contact, energy), rel=tolerance
    )


def test_force_is_minus_the_gradient_of_the_potential() -> None:
    contact, energy = 2.5, 0.8

    def potential(r: jax.Array) -> jax.Array:
        ratio = (contact * 2 ** (-1 / 6) / r) ** 6
        return 4 * energy * (ratio**2 - ratio) + energy

    for r in (1.5, 2.0, 2.3, 2.45):
        force = -float(jax.grad(potential)(jnp.asarray(r)))
        assert factor(r, contact, energy) * r == pytest.approx(force, rel=1e-4)


def test_cutoff_is_the_sum_of_the_radii() -> None:
    contact = 2.0
    assert factor(contact, contact, 1.0) == 0
    assert factor(contact * (1 + 1e-6), contact, 1.0) == 0
    assert factor(contact * 1.5, contact, 1.0) == 0
    # just inside: stiffness 72 eps/c² times the overlap
    overlap = 1e-3
    force = factor(contact - overlap, contact, 1.0) * (contact - overlap)
    assert force == pytest.approx(72 / contact**2 * overlap, rel=0.02)
    assert contacts.STIFFNESS == 72


def test_deep_overlap_gives_a_finite_force() -> None:
    deepest = factor(contacts.DEEPEST * 2, 2.0, 1.0)
    for r in (0.0, 1e-9, 0.1, 0.5):
        assert factor(r, 2.0, 1.0) == pytest.approx(deepest, rel=1e-5)


def test_default_energy_is_the_larger_of_heat_and_work() -> None:
    """max(kT, push x contact), with the stronger push of the two."""
    args = (jnp.asarray(2.0), jnp.asarray(3.0), jnp.asarray(0.5))
    assert float(contacts.pair_energy(*args, jnp.asarray(0.1), None)) == pytest.approx(1.5)
    assert float(contacts.pair_energy(*args, jnp.asarray(4.0), None)) == pytest.approx(4.0)
    assert float(contacts.pair_energy(*args, jnp.asarray(4.0), jnp.asarray(0.2))) == pytest.approx(
        0.2
    )


def brute_forces(
    position: np.ndarray, radius: np.ndarray, energy: float, size: np.ndarray, periodic: tuple
) -> tuple[np.ndarray, np.ndarray]:
    """Forces [D, N] and largest (contact/r)² by a double loop over all pairs and their images."""
    dimension, count = position.shape
    shifts = np.stack(
        np.meshgrid(*[(-1, 0, 1) if p else (0,) for p in periodic], indexing="ij"), -1
    ).reshape(-1, dimension)
    force, deepest = np.zeros((dimension, count)), np.zeros(count)
    for i in range(count):
        for j in range(count):
            if i == j:
                continue
            contact = radius[i] + radius[j]
            images = position[:, i] - position[:, j] + shifts * size
            delta = images[np.argmin((images**2).sum(1))]
            r = math.sqrt((delta**2).sum())
            deepest[i] = max(deepest[i], (contact / r) ** 2)
            force[:, i] += textbook_force(r, contact, energy) * delta / r
    return force, deepest


@PAIR_PATHS
@pytest.mark.parametrize(
    ("size", "periodic"),
    [
        ((30.0, 17.0), (True, True)),
        ((30.0, 17.0), (False, True)),
        ((17.0, 30.0), (False, False)),
        ((12.0, 9.0, 20.0), (True, True, True)),
        ((12.0, 9.0, 20.0), (True, False, True)),
    ],
)
def test_forces_in_any_box_equal_a_double_loop(
    size: tuple, periodic: tuple, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contacts, "ALL_PAIRS_ELEMENTS", limit)
    dimension, count, batch = len(size), 24, 3
    rng = np.random.default_rng(7)
    lengths = np.asarray(size)
    position = rng.uniform(0, 1, (dimension, count, batch)) * lengths[:, None, None]
    radius = rng.uniform(0.5, 1.6, count)
    energy = 0.7
    force, deepest = contacts.sphere_forces(
        jnp.asarray(position, jnp.float32),
        jnp.asarray(radius[:, None], jnp.float32),
        jnp.ones((count, 1)),
        jnp.ones(1),
        jnp.asarray(energy),
        jnp.asarray(lengths[:, None, None][:, 0], jnp.float32),
        periodic,
    )
    touching = 0
    for b in range(batch):
        wanted, u = brute_forces(position[:, :, b], radius, energy, lengths, periodic)
        capped = u < contacts.DEEPEST**-2 * 0.99
        close = capped & (u > 1)
        touching += int(close.sum())
        # A sphere that shares a pair beyond the cap is left out, and so is its partner.
        scale = 1 + np.abs(wanted)
        error = np.abs(np.asarray(force)[:, :, b] - wanted) / scale
        assert error[:, capped].max() < 1e-3
        np.testing.assert_allclose(np.asarray(deepest)[capped, b], u[capped], rtol=1e-4)
    assert touching > 10


@PAIR_PATHS
def test_newtons_third_law(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All forces add up to zero, whatever the radii and pushes."""
    monkeypatch.setattr(contacts, "ALL_PAIRS_ELEMENTS", limit)
    rng = np.random.default_rng(8)
    count = 60
    position = jnp.asarray(rng.uniform(0, 25, (2, count)), jnp.float32)
    force, deepest = contacts.sphere_forces(
        position,
        jnp.asarray(rng.uniform(0.5, 1.5, count), jnp.float32),
        jnp.asarray(rng.uniform(0.01, 1, count), jnp.float32),
        jnp.asarray(0.004),
        None,
        jnp.asarray([25.0, 25.0]),
        (True, True),
    )
    force = np.asarray(force, np.float64)
    assert np.abs(force).max() > 1
    assert np.abs(force.sum(1)).max() < 1e-5 * np.abs(force).sum()
    assert float(deepest.max()) > 1


# Statistics of a pair


def pair_batch(swarms: int, separation: float, length: float) -> MotionState:
    """Pairs in random directions, `separation` apart, in the middle of a square box."""
    angle = np.random.default_rng(9).uniform(0, 2 * np.pi, swarms)
    unit = np.stack([np.cos(angle), np.sin(angle)], -1)
    offset = np.stack([-unit, unit], 1) * separation / 2
    position = jnp.asarray(length / 2 + offset, jnp.float32)
    director = jnp.broadcast_to(jnp.asarray([1.0, 0.0]), position.shape)
    zero = jnp.zeros_like(position)
    return MotionState(position, zero.astype(jnp.int32), zero, director)


def test_pair_follows_boltzmann() -> None:
    """P(r) dr is proportional to r exp(-V(r)/kT) dr in 2D, exactly, within half of a periodic box.

    The share of each bin among all pairs closer than half a box is compared with the integral,
    so that a bin may be wide. Euler's scheme lowers g just inside contact by 1.2 % at this
    time step, where dt x stiffness/gamma = 0.004 (4.6 % at 0.016).
    """
    length, energy_scale = 5.0, 1.0
    fluid = Fluid()
    kt = fluid.thermal_energy
    world = World(
        Box((length, length)),
        fluid,
        (Species(count=2, radius=1.0, speed_max=0.0),),
        time_step=1e-3,
        contact_energy=energy_scale * kt,
    )
    config = MotionConfig(2, world.box.boundaries, world.time_step, 100, True)
    motion = jax.vmap(interval_motion(config), in_axes=(0, 0, None, None))
    params = motion_params(world)
    swarms, burn, frames = 8192, 40, 300
    drive = Drive(jnp.zeros(2), jnp.zeros((2, 2)), jnp.zeros((2, 1)))
    edges = np.array([0.0, 1.7, 1.8, 1.9, 2.0, 2.15, 2.3, 2.5])
    bins = [1, 2, 3, 4, 6]  # centres 1.75, 1.85, 1.95, 2.075 and 2.4 µm

    def body(state: MotionState, key: jax.Array) -> tuple[MotionState, jax.Array]:
        state, _ = motion(jax.random.bits(key, (swarms, 2), jnp.uint32), state, drive, params)
        delta = state.position[:, 0] - state.position[:, 1]
        delta = delta - length * jnp.round(delta / length)
        r = jnp.sqrt((delta**2).sum(-1))
        return state, (r[:, None] >= jnp.asarray(edges[:-1])) & (
            r[:, None] < jnp.asarray(edges[1:])
        )

    @jax.jit
    def run(state: MotionState, key: jax.Array) -> jax.Array:
        def count(carry: tuple, key: jax.Array) -> tuple:
            state, hits = carry
            state, inside = body(state, key)
            return (state, hits + inside), None

        burn_key, key = jax.random.split(key)
        state, _ = jax.lax.scan(body, state, jax.random.split(burn_key, burn))
        hits = jnp.zeros((swarms, len(edges) - 1), jnp.int32)
        (state, hits), _ = jax.lax.scan(count, (state, hits), jax.random.split(key, frames))
        return hits

    hits = np.asarray(run(pair_batch(swarms, 2.2, length), jax.random.key(0)), float)

    def weight(r: float) -> float:
        return r * math.exp(-float(textbook_energy(r, 2.0, energy_scale)))

    mass = [integrate.quad(weight, max(a, 0.5), b)[0] for a, b in itertools.pairwise(edges)]
    expected = np.array(mass) / sum(mass)
    share = hits.sum(0) / hits.sum()
    # Standard error from the scatter of independent swarms (ratio estimator).
    error = (hits - share * hits.sum(1, keepdims=True)).std(0) * math.sqrt(swarms) / hits.sum()
    assert (error / expected)[bins].max() < 0.02 / 3
    np.testing.assert_allclose((share / expected)[bins], 1, atol=0.02)


# Pushing


def balance(contact: float, push: float, energy: float) -> float:
    """The separation at which the contact force equals `push`."""
    return optimize.brentq(
        lambda r: textbook_force(r, contact, energy) - push, 0.5 * contact, contact
    )


@pytest.mark.parametrize("dimension", [2, 3])
def test_pushing_swimmer_sinks_in_by_about_one_per_cent(dimension: int) -> None:
    """Against a colloid too heavy to move, at full speed: as the force balance says, 1.2 %."""
    radius, speed = 1.5, 5.0
    rest = (10.0,) * (dimension - 1)
    swimmer = Species(
        "swimmer",
        1,
        radius,
        speed_max=speed,
        placement=Placement(
            "points", positions=((6.5, *rest),), directors=((1.0, *(0.0,) * len(rest)),)
        ),
    )
    wall = Species(
        "wall",
        1,
        radius,
        friction=1e6,
        speed_max=0.0,
        placement=Placement("points", positions=((10.0, *rest),)),
    )
    world = World(Box((20.0,) * dimension), Fluid(temperature=0.0), (swimmer, wall), time_step=1e-3)
    engine = JaxEngine(world, 0.5)
    state = engine.reset(0)
    for _ in range(6):
        state = engine.step(Command(speed=np.array([speed, 0.0]))).state
    position = np.asarray(state.position, float)
    contact, push = 2 * radius, world.friction(swimmer) * speed
    separation = position[1, 0] - position[0, 0]
    assert separation == pytest.approx(balance(contact, push, push * contact), rel=1e-5)
    assert 1 - separation / contact == pytest.approx(0.012, abs=0.002)
    assert position[1, 0] == pytest.approx(10.0, abs=1e-6)
    assert np.abs(np.asarray(state.velocity)).max() < 1e-3


@pytest.mark.parametrize("dimension", [2, 3])
def test_hard_faces_and_corners_hold_swimmers_at_full_speed(dimension: int) -> None:
    """Swimmers that turn at random press on faces, edges and corners for 1e6 particle steps.

    A face pushes back with 12 eps u³(u³ - 1)/x, eps = gamma v a: at full speed alone x = 0.988
    a. Heat and neighbours press deeper; nobody's surface may leave the box by more than a
    tenth of a radius.
    """
    length, radius, count = 12.0, 1.0, 12
    species = Species(count=count, radius=radius, speed_max=10.0, turn_rate_max=10.0)
    world = World(Box((length,) * dimension, "hard"), species=(species,), time_step=2.5e-4)
    engine = JaxEngine(world, 0.5)
    params = engine.params()
    swarms = 8
    rng = np.random.default_rng(10)
    # a heading towards a face, an edge or a corner for each swimmer, afresh in every interval
    heading = rng.integers(-1, 2, (6, swarms, count, dimension)).astype(np.float32)
    heading[np.abs(heading).sum(-1) == 0, 0] = 1

    @jax.jit
    def run(key: jax.Array) -> tuple[jax.Array, ...]:
        init_key, key = jax.random.split(key)
        state = jax.vmap(engine.init, (0, None))(jax.random.split(init_key, swarms), params)

        def body(state: object, inputs: tuple) -> tuple:
            key, heading = inputs
            command = Command(
                speed=jnp.full((swarms, count), 10.0),
                heading=heading,
                has_heading=jnp.ones((swarms, count), bool),
            )
            keys = jax.random.split(key, swarms)
            state, _, flags = jax.vmap(engine.advance, (0, 0, 0, None))(
                keys, state, command, params
            )
            return state, (state.motion.position, flags.diverged, flags.overlap)

        return jax.lax.scan(body, state, (jax.random.split(key, 6), jnp.asarray(heading)))[1]

    position, diverged, overlap = (np.asarray(x) for x in run(jax.random.key(3)))
    assert not diverged.any()
    assert not overlap.any()
    assert position.min() > 0.9 * radius
    assert position.max() < length - 0.9 * radius
    # they are indeed pressed: more than 10 % of the coordinates are in contact with a face
    pressed = (position < radius) | (position > length - radius)
    assert pressed.mean() > 0.1


@pytest.mark.parametrize("dimension", [2, 3])
def test_pressing_into_a_corner_rests_where_the_forces_balance(dimension: int) -> None:
    """Without heat each axis holds its own share of the push."""
    radius, speed = 1.0, 8.0
    unit = np.arange(1.0, dimension + 1)
    unit /= np.linalg.norm(unit)
    placement = Placement(
        "points", positions=((2.0,) * dimension,), directors=(tuple((-unit).tolist()),)
    )
    species = Species(count=1, radius=radius, speed_max=speed, placement=placement)
    world = World(
        Box((20.0,) * dimension, "hard"), Fluid(temperature=0.0), (species,), time_step=2.5e-4
    )
    engine = JaxEngine(world, 1.0)
    engine.reset(0)
    for _ in range(3):
        state = engine.step(Command(speed=np.array([speed]))).state
    push = world.friction(species) * speed
    expected = [balance(radius, push * share, push * radius) for share in unit]
    np.testing.assert_allclose(np.asarray(state.position)[0], expected, rtol=1e-5)


def test_open_and_periodic_axes_have_no_faces() -> None:
    species = Species(
        count=1,
        speed_max=10.0,
        placement=Placement("points", positions=((5.0, 5.0),), directors=((1.0, 0.0),)),
    )
    for boundary in ("open", "periodic"):
        world = World(
            Box((10.0, 10.0), (boundary, "hard")),
            Fluid(temperature=0.0),
            (species,),
            time_step=2.5e-4,
        )
        engine = JaxEngine(world, 2.0)
        start = engine.reset(0)
        end = engine.step(Command(speed=np.array([10.0]))).state
        space = engine.space(engine.params())
        moved = np.asarray(end.unwrapped(space) - start.unwrapped(space))
        np.testing.assert_allclose(moved, [[20.0, 0.0]], atol=1e-3)


# Order of the scheme


def test_weak_order_one_in_the_time_step() -> None:
    """Variance of a sphere that just fits between two hard faces, against quadrature: error ~ dt.

    Time steps p gamma/stiffness with p = 0.2, 0.1 and 0.05; near the harmonic limit the error
    is p/2. With 16 384 particles and 120 samples each, three relaxation times apart, a
    variance is known to 0.1 % and the slope to 0.03.
    """
    radius, length, energy = 1.0, 2.0, 20.0
    fluid = Fluid()
    kt = fluid.thermal_energy
    species = Species(count=16, radius=radius, speed_max=0.0)
    box = Box((length, 50.0), ("hard", "periodic"))
    base = World(box, fluid, (species,), contacts=False, contact_energy=energy * kt)
    relaxation = base.friction(species) * radius**2 / (72 * energy * kt)

    def weight(x: float, power: int) -> float:
        sides = (float(textbook_energy(d, radius, energy)) for d in (x, length - x))
        return (x - length / 2) ** power * math.exp(-sum(sides))

    total, square = (integrate.quad(weight, 0.7, length - 0.7, (p,))[0] for p in (0, 2))
    exact = square / total
    swarms, samples = 1024, 120
    errors = []
    products = (0.2, 0.1, 0.05)
    for product in products:
        steps = round(3 / product)
        config = MotionConfig(16, box.boundaries, product * relaxation, steps, False)
        motion = jax.vmap(interval_motion(config), in_axes=(0, 0, None, None))
        params = motion_params(base)
        drive = Drive(jnp.zeros(16), jnp.zeros((16, 2)), jnp.zeros((16, 1)))

        @jax.jit
        def run(
            key: jax.Array,
            motion: object = motion,
            params: MotionParams = params,
            drive: Drive = drive,
        ) -> jax.Array:
            position = jnp.full((swarms, 16, 2), length / 2)
            zero = jnp.zeros_like(position)
            director = zero.at[..., 0].set(1.0)
            state = MotionState(position, zero.astype(jnp.int32), zero, director)

            def body(state: MotionState, key: jax.Array) -> tuple[MotionState, jax.Array]:
                words = jax.random.bits(key, (swarms, 2), jnp.uint32)
                state, _ = motion(words, state, drive, params)
                return state, ((state.position[..., 0] - length / 2) ** 2).mean()

            return jax.lax.scan(body, state, jax.random.split(key, samples + 3))[1][3:].mean()

        errors.append(float(run(jax.random.key(4))) / exact - 1)
    slope = np.polyfit(np.log(products), np.log(np.abs(errors)), 1)[0]
    assert min(errors) > 0.01, errors
    assert slope == pytest.approx(1, abs=0.2), errors


def test_a_time_step_that_cannot_resolve_a_contact_is_refused() -> None:
    """dt x 72 v/c <= 0.2 with the default energy, and the message names a step that works."""
    world = World(species=(Species(count=2, radius=1.0, speed_max=10.0),), time_step=1e-3)
    with pytest.raises(ConfigError, match=r"0\.000555 s or less, lower swim speeds"):
        JaxEngine(world)
    JaxEngine(World(species=world.species, time_step=0.000555), 0.00555)
    JaxEngine(World(species=world.species, time_step=0.2 / 360), 0.2 / 360 * 10)
