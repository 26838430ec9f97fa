"""The plain case of `motion` by machine code on CPUs; needs the extra `fast` (numba).

Plain are overdamped spheres with contacts in open, periodic and hard boxes, driven by speeds,
velocities and turn rates. The kernel takes the same arguments and the same noise as
`motion.interval_motion` and gives the same result up to rounding. Its result does not depend on the
number of threads, nor on how swarms are batched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

from swarmctl.core.machine_code import cache_folder
from swarmctl.physics import motion
from swarmctl.physics.motion import Drive, Motion, MotionState
from swarmctl.physics.parameters import MotionConfig, MotionParams

Array = jax.Array

FEWEST = 32
"""With fewer colloids XLA is fast enough on batches, and needs no seconds to compile the kernel."""
TEAM_COUNT = 4096
"""From this many colloids all cores work on one swarm, if there are fewer swarms than cores."""
THREAD_WORK = 20_000
"""Particle-steps that a thread of its own is worth."""
MOST_THREADS = 64

_PLAIN_CONFIG = {"count", "boundaries", "time_step", "steps", "contacts", "touching", "neighbours"}
_PLAIN = {
    MotionState: {"position", "image", "remainder", "director"},
    Drive: {"speed", "velocity", "turn_rate", "time"},
    MotionParams: {
        "size",
        "thermal_energy",
        "radius",
        "friction",
        "rotational_friction",
        "speed_min",
        "speed_max",
        "turn_rate_max",
        "contact_energy",
    },
}
_OWN_AXES = (1, 2, 2, 2, 2, 1, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1)
"""Number of axes of each argument of the kernel, batches aside."""


def chosen(config: MotionConfig) -> bool:
    """Whether `best_interval_motion` takes the kernel for a plain motion."""
    return config.count >= FEWEST and unusable(config) is None


def best_interval_motion(
    config: MotionConfig,
) -> Callable[[Array, MotionState, Drive, MotionParams], tuple[MotionState, Motion]]:
    """Return `motion.interval_motion`, or the kernel for what is plain and worth it."""
    general = motion.interval_motion(config)
    if not chosen(config):
        return general
    quick = interval_motion(config)

    def either(
        key_words: Array, state: MotionState, drive: Drive, params: MotionParams
    ) -> tuple[MotionState, Motion]:
        run = general
        if plain(state, drive, params):
            try:
                target(config.dimension, str(state.position.dtype))
                run = quick
            except Exception as error:  # a numba or XLA that does not fit must not stop the work
                warnings.warn(f"the compiled kernel is left out: {error}", stacklevel=2)
        return run(key_words, state, drive, params)

    return either


def unusable(config: MotionConfig) -> str | None:
    """Return None if the kernel can serve this motion here, or in a few words why it cannot."""
    more = [
        field.name
        for field in dataclasses.fields(config)
        if field.name not in _PLAIN_CONFIG and getattr(config, field.name) != field.default
    ]
    if more:
        return f"the motion has more to it: {', '.join(more)}"
    if not config.contacts:
        return "there are no contacts"
    if os.name != "posix":
        return "there are no POSIX threads"
    if importlib.util.find_spec("numba") is None:
        return "numba is not installed"
    if jax.default_backend() != "cpu":
        return "the device is not a CPU"
    return None


def plain(state: MotionState, drive: Drive, params: MotionParams) -> bool:
    """Whether a motion has no more parts than the kernel knows; a question of structure alone."""
    more = [
        getattr(part, field.name)
        for part in (state, drive, params)
        for field in dataclasses.fields(part)
        if field.name not in _PLAIN[type(part)]
    ]
    return all(value is None or (isinstance(value, tuple) and not value) for value in more)


def interval_motion(
    config: MotionConfig,
) -> Callable[[Array, MotionState, Drive, MotionParams], tuple[MotionState, Motion]]:
    """Return what `motion.interval_motion` returns, computed by the kernel.

    Only for what is `plain` and not `unusable`. It can be jitted, scanned and vmapped over every
    argument, but not differentiated.
    """
    from swarmctl.physics import compiled_base as base

    count, dimension = config.count, config.dimension
    turns = 1 if dimension == 2 else 3
    codes = {"periodic": base.PERIODIC, "hard": base.HARD, "open": 0}

    def call(*arguments: Array) -> tuple[Array, ...]:
        """Arguments and results are [*batch or 1s, own axes]."""
        dtype = arguments[1].dtype
        batch = np.broadcast_shapes(
            *(x.shape[: x.ndim - n] for x, n in zip(arguments, _OWN_AXES, strict=True))
        )
        swarms = int(np.prod(batch))

        def flat(x: Array, own: int) -> Array:
            leading, rest = x.shape[: x.ndim - own], x.shape[x.ndim - own :]
            if np.prod(leading) != 1 and leading != batch:
                x = jnp.broadcast_to(x, (*batch, *rest))
            return x.reshape(-1, *rest)

        header = np.zeros(base.HEADER_WORDS, np.int64)
        header[base.COUNT], header[base.SWARMS] = count, swarms
        header[base.STEPS], header[base.CONTACTS] = config.steps, config.contacts
        header[base.THREADS], header[base.TEAM] = threads(count, swarms, config.steps)
        header[base.AXES : base.AXES + dimension] = [codes[b] for b in config.boundaries]
        vector, turn = (swarms, count, dimension), (swarms, count, turns)
        integers, flag = (vector, jnp.int32), ((swarms, 1), jnp.bool)
        shapes = [(vector, dtype), integers, *3 * [(vector, dtype)], (turn, dtype), flag, flag]
        results = jax.ffi.ffi_call(
            target(dimension, str(dtype)), [jax.ShapeDtypeStruct(*s) for s in shapes]
        )(
            header.view(np.int32),  # without x64 there are no 64-bit integers
            *(flat(x, own) for x, own in zip(arguments, _OWN_AXES, strict=True)),
        )
        return tuple(y.reshape(*batch, *y.shape[1:]) for y in results)

    run = _batch_first(call)

    def advance(
        key_words: Array, state: MotionState, drive: Drive, params: MotionParams
    ) -> tuple[MotionState, Motion]:
        dtype = state.position.dtype
        dt = jnp.asarray(config.time_step, dtype)
        mobility = 1 / params.friction
        given = -1.0 if params.contact_energy is None else params.contact_energy

        def single(x: Any) -> Array:
            return jnp.asarray(x, dtype).reshape(1)

        position, image, remainder, director, displacement, rotation, overlap, diverged = run(
            key_words,
            state.position,
            state.image,
            state.remainder,
            state.director,
            drive.speed,
            drive.velocity,
            drive.turn_rate,
            single(dt),
            params.size,
            single(params.thermal_energy),
            single(given),
            params.radius,
            params.push,
            mobility,
            jnp.sqrt(2 * params.thermal_energy * dt / params.friction),
            jnp.sqrt(2 * params.thermal_energy * dt / params.rotational_friction),
        )
        new_state = MotionState(position, image, remainder, director)
        no_walls = jnp.zeros_like(diverged[0])
        return new_state, Motion(
            displacement, rotation, overlap[0], diverged[0], no_walls, no_walls
        )

    return advance


def threads(count: int, swarms: int, steps: int) -> tuple[int, int]:
    """Number of threads, and how many of them share a swarm.

    >>> threads(100, 1, 10)
    (1, 1)
    """
    most = min(cores(), MOST_THREADS, max(1, count * swarms * steps // THREAD_WORK))
    if most > swarms and count >= TEAM_COUNT:
        return most, most
    return min(most, swarms), 1


def cores() -> int:
    """Number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_lock = threading.Lock()
_alive: list[Any] = []  # machine code must not be freed


@lru_cache(maxsize=8)
def target(dimension: int, dtype: str) -> str:
    """Compile the kernel, or load it from numba's cache, and return its name within XLA."""
    import llvmlite.binding
    import numba

    from swarmctl.physics import compiled_kernel as kernel

    kind = f"{dimension}_{'f32' if dtype == 'float32' else 'f64'}"
    name = f"swarmctl_interval_{kind}"
    with _lock:
        with _cache() as cache:
            compiler = numba.cfunc("int64(int64)", cache=cache, error_model="numpy")
            worker = compiler(getattr(kernel, f"worker_{kind}"))
            llvmlite.binding.add_symbol(f"swarmctl_worker_{kind}", worker.address)
            entry = compiler(getattr(kernel, f"entry_{kind}"))
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(entry.address), platform="cpu")
        _alive.extend((worker, entry))
    return name


@contextlib.contextmanager
def _cache() -> Iterator[bool]:
    """Point numba to a folder of the user's for this very kernel; yields whether there is one.

    numba looks at one source file to tell whether machine code is out of date, and this kernel has
    several.
    """
    import numba

    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("compiled_*.py")):
        digest.update(path.read_bytes())
    folder = cache_folder(f"kernel-{digest.hexdigest()[:16]}")
    settings: Any = numba.config
    before = settings.CACHE_DIR
    settings.CACHE_DIR = before if folder is None else str(folder)
    try:
        yield folder is not None
    finally:
        settings.CACHE_DIR = before


def _batch_first(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make `vmap` put the mapped axis in front, of length 1 for what is not mapped."""
    wrapped = custom_vmap(function)

    def rule(axis_size: int, in_batched: Any, *args: Array) -> tuple[Any, Any]:
        moved = [x if b else jnp.asarray(x)[None] for x, b in zip(args, in_batched, strict=True)]
        result = wrapped(*moved)
        full = jax.tree.map(lambda y: jnp.broadcast_to(y, (axis_size, *y.shape[1:])), result)
        return full, jax.tree.map(lambda _: True, full)

    wrapped.def_vmap(rule)
    return wrapped
