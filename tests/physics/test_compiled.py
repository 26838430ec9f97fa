"""The compiled kernel gives what JAX gives, step by step, whatever the box, batch and threads."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.world import Box, Placement, Species, World
from swarmctl.physics import compiled, motion
from swarmctl.physics.motion import Drive, MotionState
from swarmctl.physics.parameters import MotionConfig, MotionParams, motion_config, motion_params

pytest.importorskip("numba")

NAMES = ("position", "image", "remainder", "director")
KEY = jnp.asarray([123, 456], jnp.uint32)


def crowd(
    size: tuple[float, ...], boundaries: tuple[Any, ...], steps: int, fraction: float = 0.75
) -> tuple[MotionConfig, MotionState, Drive, MotionParams]:
    """Two species on a lattice that is filled in part, touching, with all drives at once."""
    spacing, rng = 1.98, np.random.default_rng(5)
    cells = [int(length / spacing) for length in size]
    lattice = np.stack(np.meshgrid(*map(np.arange, cells), indexing="ij"), -1)
    points = (lattice.reshape(-1, len(size)) + 0.5) * np.asarray(size) / cells
    points = rng.permutation(points)[: int(fraction * len(points))]
    many = len(points) * 2 // 3
    species = (
        Species(name="large", count=many, radius=1.0, speed_max=8.0, placement=Placement("box")),
        Species(name="small", count=len(points) - many, radius=0.8, speed_max=5.0),
    )
    world = World(box=Box(size, boundaries), species=species, time_step=3e-4)
    params = motion_params(world)
    dtype = params.size.dtype

    def some(shape: tuple[int, ...], scale: float) -> jax.Array:
        return jnp.asarray(rng.normal(size=shape) * scale, dtype)

    director = rng.normal(size=points.shape)
    director /= np.linalg.norm(director, axis=1, keepdims=True)
    zero = jnp.zeros(points.shape, dtype)
    state = MotionState(
        jnp.asarray(points, dtype), zero.astype(jnp.int32), zero, jnp.asarray(director, dtype)
    )
    turns = 1 if len(size) == 2 else 3
    drive = Drive(
        some((len(points),), 3),
        some(points.shape, 1),
        some((len(points), turns), 2),
        time=jnp.zeros((), dtype),
    )
    return motion_config(world, steps), state, drive, params


def compare(a: Any, b: Any, size: jax.Array, tolerance: float) -> None:
    """Whether two results (state, motion) are equal, also across a periodic edge."""
    lengths = np.asarray(size)
    unwrapped = [np.asarray(s.position) + np.asarray(s.image) * lengths for s, _ in (a, b)]
    np.testing.assert_allclose(unwrapped[0], unwrapped[1], atol=tolerance)
    np.testing.assert_allclose(a[0].director, b[0].director, atol=tolerance)
    np.testing.assert_allclose(a[1].displacement, b[1].displacement, atol=tolerance)
    np.testing.assert_allclose(a[1].rotation, b[1].rotation, atol=tolerance)
    np.testing.assert_array_equal(a[1].overlap, b[1].overlap)
    np.testing.assert_array_equal(a[1].diverged, b[1].diverged)


BOXES = pytest.mark.parametrize(
    ("size", "boundaries"),
    [
        ((33.0, 21.0), ("periodic", "periodic")),
        ((27.0, 27.0), ("open", "periodic")),
        ((27.0, 27.0), ("hard", "open")),
        ((5.5, 60.0), ("periodic", "hard")),  # too narrow for cells
        ((16.0, 12.0, 9.0), ("periodic", "open", "hard")),
        ((12.0, 12.0, 12.0), ("periodic", "periodic", "periodic")),
    ],
)


@BOXES
def test_steps_equal_those_of_jax(size: tuple[float, ...], boundaries: tuple[str, ...]) -> None:
    """One step, and 100 steps: rounding, 2e-7 of 60 µm, is amplified by contacts in between."""
    for steps, tolerance in ((1, 3e-6), (100, 3e-4)):
        config, state, drive, params = crowd(size, boundaries, steps)
        assert compiled.unusable(config) is None
        assert compiled.plain(state, drive, params)
        wanted = jax.jit(motion.interval_motion(config))(KEY, state, drive, params)
        found = jax.jit(compiled.interval_motion(config))(KEY, state, drive, params)
        compare(found, wanted, params.size, tolerance)
    assert np.abs(np.asarray(wanted[1].displacement)).max() > 0.2


def test_noise_has_the_same_bits() -> None:
    """Without contacts, drive and box, displacements are the noise, up to the last bit or two."""
    config, state, drive, params = crowd((33.0, 21.0), ("open", "open"), 1, fraction=0.05)
    still = jax.tree.map(jnp.zeros_like, drive)
    wanted = motion.interval_motion(config)(KEY, state, still, params)
    found = compiled.interval_motion(config)(KEY, state, still, params)
    np.testing.assert_allclose(found[1].displacement, wanted[1].displacement, rtol=3e-7)
    np.testing.assert_allclose(found[1].rotation, wanted[1].rotation, rtol=3e-7)


def test_batches_of_swarms_and_of_parameters() -> None:
    """Nested vmaps, some arguments mapped and some not, equal single calls, bit for bit."""
    config, state, drive, params = crowd((20.0, 20.0), ("periodic", "periodic"), 20)
    keys = jnp.arange(12, dtype=jnp.uint32).reshape(3, 2, 2)
    states = jax.tree.map(lambda x: jnp.stack([x, x[::-1], x]), state)
    scale = jnp.asarray([1.0, 1.3])
    many = MotionParams(
        **{name: getattr(params, name) for name in compiled._PLAIN[MotionParams]}
        | {"friction": params.friction * scale[:, None]}
    )
    axes = MotionParams(
        **dict.fromkeys(compiled._PLAIN[MotionParams] - {"contact_energy"}) | {"friction": 0},
        contact_energy=None,
    )
    single = compiled.interval_motion(config)
    inner = jax.vmap(single, (0, None, None, axes))
    found = jax.jit(jax.vmap(inner, (0, 0, None, None)))(keys, states, drive, many)
    for a in range(3):
        for b in range(2):
            state_a = jax.tree.map(lambda x, a=a: x[a], states)
            own = MotionParams(
                **{name: getattr(params, name) for name in compiled._PLAIN[MotionParams]}
                | {"friction": params.friction * scale[b]}
            )
            wanted = single(keys[a, b], state_a, drive, own)
            part = jax.tree.map(lambda x, a=a, b=b: x[a, b], found)
            for x, y in zip(jax.tree.leaves(part), jax.tree.leaves(wanted), strict=True):
                np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("boundaries", [("periodic", "periodic"), ("open", "hard")])
def test_result_does_not_depend_on_the_threads(
    boundaries: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for number, team in ((1, 1), (2, 2), (3, 3), (7, 7)):
        monkeypatch.setattr(compiled, "threads", lambda *_, n=number, t=team: (n, t))
        config, state, drive, params = crowd((66.0, 60.0), boundaries, 60)
        results.append(compiled.interval_motion(config)(KEY, state, drive, params))
    for other in results[1:]:
        for x, y in zip(jax.tree.leaves(results[0]), jax.tree.leaves(other), strict=True):
            np.testing.assert_array_equal(x, y)


def test_flags() -> None:
    config, state, drive, params = crowd((20.0, 20.0), ("periodic", "open"), 2)
    run = compiled.interval_motion(config)
    found = run(KEY, state, drive, params)[1]
    assert not found.overlap
    assert not found.diverged
    near = state.position.at[0].set(state.position[1] + 0.3)
    lost = state.position.at[0].set(jnp.nan)
    for position, overlap, diverged in ((near, True, False), (lost, False, True)):
        bad = MotionState(position, state.image, state.remainder, state.director)
        found = run(KEY, bad, drive, params)[1]
        assert (bool(found.overlap), bool(found.diverged)) == (overlap, diverged)


def test_particles_far_outside_an_open_box_still_meet() -> None:
    config, state, drive, params = crowd((20.0, 20.0), ("open", "open"), 5)
    count = len(state.position)
    far = state.position.at[: count // 2].add(jnp.asarray([3000.0, -800.0]))
    moved = MotionState(far, state.image, state.remainder, state.director)
    wanted = motion.interval_motion(config)(KEY, moved, drive, params)
    found = compiled.interval_motion(config)(KEY, moved, drive, params)
    compare(found, wanted, params.size, 1e-3)


def test_it_runs_within_scan_and_only_where_it_may() -> None:
    config, state, drive, params = crowd((20.0, 20.0), ("periodic", "periodic"), 4)
    run = compiled.interval_motion(config)

    @jax.jit
    def episode(state: MotionState) -> MotionState:
        keys = jnp.arange(20, dtype=jnp.uint32).reshape(10, 2)
        return jax.lax.scan(lambda s, k: (run(k, s, drive, params)[0], None), state, keys)[0]

    scanned = episode(state)
    for k in jnp.arange(20, dtype=jnp.uint32).reshape(10, 2):
        state, _ = run(k, state, drive, params)
    np.testing.assert_allclose(scanned.position, state.position, atol=1e-5)
    free = MotionConfig(10, ("open", "open"), 1e-3, 1, contacts=False)
    assert "no contacts" in str(compiled.unusable(free))
    heavy = MotionConfig(50, ("open", "open"), 1e-3, 1, contacts=True, inertial=True)
    assert "inertial" in str(compiled.unusable(heavy))
    pulled = dataclasses.replace(params, force=jnp.ones((2, 1)))
    assert not compiled.plain(state, drive, pulled)


def test_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel for plain motions of many, XLA for the rest, also where the kernel fails."""
    config, state, drive, params = crowd((20.0, 20.0), ("periodic", "periodic"), 4)
    few = dataclasses.replace(config, count=compiled.FEWEST - 1)
    assert compiled.chosen(config)
    assert not compiled.chosen(few)
    best = compiled.best_interval_motion(config)
    wanted = compiled.interval_motion(config)(KEY, state, drive, params)
    for x, y in zip(
        jax.tree.leaves(best(KEY, state, drive, params)), jax.tree.leaves(wanted), strict=True
    ):
        np.testing.assert_array_equal(x, y)

    def broken(*_: object) -> str:
        raise RuntimeError("of another version")

    monkeypatch.setattr(compiled, "target", broken)
    with pytest.warns(UserWarning, match="left out: of another version"):
        found = compiled.best_interval_motion(config)(KEY, state, drive, params)
    compare(found, wanted, params.size, 1e-4)


def test_threads_are_worth_their_work() -> None:
    cores = compiled.cores()
    assert compiled.threads(50, 1, 10) == (1, 1)
    assert compiled.threads(10**6, 1, 10) == (min(cores, compiled.MOST_THREADS),) * 2
    assert compiled.threads(50, 4096, 10) == (min(cores, compiled.MOST_THREADS), 1)


def test_double_precision() -> None:
    """In float64 the paths agree to 1e-10 µm after 100 steps."""
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import jax; jax.config.update("jax_enable_x64", True)
from test_compiled import KEY, compare, compiled, crowd, motion
for size in ((33.0, 21.0),):
    config, state, drive, params = crowd(size, ("periodic", "open", "hard")[: len(size)], 100)
    assert state.position.dtype == "float64"
    wanted = jax.jit(motion.interval_motion(config))(KEY, state, drive, params)
    found = jax.jit(compiled.interval_motion(config))(KEY, state, drive, params)
    compare(found, wanted, params.size, 1e-10)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
