"""External potentials with their forces, and scalar fields of point sources.

Arrays are components first and batch last: positions [D,N,*b], parameters [...,*b or 1s].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.errors import ConfigError
from swarmctl.core.fields import (
    CallablePotential,
    ConstantForce,
    DoubleWell,
    GridPotential,
    HarmonicTrap,
    Potential,
    Sources,
)
from swarmctl.core.state import Space
from swarmctl.core.tree import pytree, static
from swarmctl.core.world import Box
from swarmctl.physics.grids import GridParams, grid_params, interpolate

Array = jax.Array


def relative(
    position: Array, centre: Array, size: Array, periodic: tuple[bool, ...]
) -> list[Array]:
    """Position [D,N,*b] µm as seen from a centre [D,*b or 1s], one array [N,*b] per axis.

    The minimum image is taken along periodic axes of the box with lengths size [D,*b or 1s].
    """
    delta = [x - centre[axis] for axis, x in enumerate(position)]
    return [
        d - size[axis] * jnp.round(d / size[axis]) if periodic[axis] else d
        for axis, d in enumerate(delta)
    ]


def inside_box(position: Array, size: Array, periodic: tuple[bool, ...]) -> Array:
    """Positions [D,N,*b] µm wrapped into the box along periodic axes."""
    if not any(periodic):
        return position
    parts = [
        x - size[axis] * jnp.floor(x / size[axis]) if periodic[axis] else x
        for axis, x in enumerate(position)
    ]
    return stack(parts)


def stack(parts: Sequence[Array]) -> Array:
    """Stack arrays that broadcast together along a new first axis."""
    return jnp.stack(jnp.broadcast_arrays(*parts))


def per_particle(
    function: Callable[..., Any], position: Array, time: Array, parameters: Any
) -> Any:
    """Apply `function(position [D], time [], parameters)` to every colloid of every batch.

    position [D,N,*b], time [] or [*b or 1s], leaves of the parameters [...,*b or 1s]; results are
    [...,N,*b].
    """
    depth = position.ndim - 2
    time = jnp.asarray(time, position.dtype)
    time = time if time.ndim else time.reshape((1,) * depth)
    trailing = [leaf.shape[leaf.ndim - depth :] for leaf in jax.tree.leaves(parameters)]
    batch = jnp.broadcast_shapes(position.shape[2:], time.shape, *trailing)

    def fill(leaf: Array) -> Array:
        return jnp.broadcast_to(leaf, (*leaf.shape[: leaf.ndim - depth], *batch))

    mapped = jax.vmap(function, in_axes=(1, None, None), out_axes=-1)
    for _ in range(depth):
        mapped = jax.vmap(mapped, in_axes=-1, out_axes=-1)
    return mapped(fill(position), fill(time), jax.tree.map(fill, parameters))


def call(function: Callable[..., Any], parameters: Any) -> Callable[..., Array]:
    """The function as one of three arguments, of which it gets the third only if there is one."""
    if parameters is None:
        return lambda position, time, _: jnp.asarray(function(position, time))
    return lambda position, time, given: jnp.asarray(function(position, time, given))


def check_result(
    where: str,
    function: Callable[..., Any],
    parameters: Any,
    dimension: int,
    shape: tuple[int, ...],
) -> None:
    """Raise ConfigError unless JAX can trace a user's function and its result has this shape."""
    dtype = jax.dtypes.canonicalize_dtype(jnp.float64)
    name = getattr(function, "__name__", repr(function))
    place = jax.ShapeDtypeStruct((dimension,), dtype)
    moment = jax.ShapeDtypeStruct((), dtype)
    try:
        result = jax.eval_shape(call(function, parameters), place, moment, parameters)
    except Exception as error:  # whatever the user's function raises
        first = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"{where}: {name} cannot be traced ({type(error).__name__}: {first}); it takes a "
            f"position [{dimension}], a time and parameters if there are any, and is made of "
            "jax.numpy operations."
        ) from error
    if result.shape != shape or not jnp.issubdtype(result.dtype, jnp.floating):
        raise ConfigError(
            f"{where}: {name} returns {result.dtype} {list(result.shape)}; it must return real "
            f"numbers {list(shape)} for one position [{dimension}]."
        )


def as_leaves(parameters: Any) -> Any:
    """Numbers and arrays of parameters as arrays of the process's precision."""
    dtype = jax.dtypes.canonicalize_dtype(jnp.float64)
    return jax.tree.map(lambda value: jnp.asarray(value, dtype), parameters)


@pytree
class Constant:
    """U = -F·(r - box centre) with `force` [D] pN."""

    force: Array

    def energy_and_force(
        self, position: Array, time: Array, size: Array, periodic: tuple[bool, ...]
    ) -> tuple[Array, Array]:
        """Energy [N,*b] pN µm and force [D,N,*b] pN."""
        place = relative(position, size / 2, size, (False,) * len(periodic))
        energy = sum(-f * d for f, d in zip(self.force, place, strict=True))
        return jnp.asarray(energy), stack(
            [f + jnp.zeros_like(d) for f, d in zip(self.force, place, strict=True)]
        )


@pytree
class Harmonic:
    """U = ½ Σ k_i (r_i - c_i)² with `stiffness` [D] pN/µm and `centre` [D] µm."""

    stiffness: Array
    centre: Array

    def energy_and_force(
        self, position: Array, time: Array, size: Array, periodic: tuple[bool, ...]
    ) -> tuple[Array, Array]:
        """Energy [N,*b] pN µm and force [D,N,*b] pN."""
        place = relative(position, self.centre, size, periodic)
        force = [-k * d for k, d in zip(self.stiffness, place, strict=True)]
        energy = sum(-0.5 * f * d for f, d in zip(force, place, strict=True))
        return jnp.asarray(energy), stack(force)


@pytree
class Wells:
    """U = B ((x/a)² - 1)² + ½ k (distance from the axis)².

    `barrier` B [] pN µm, `distance` 2a [] µm, `stiffness` k [] pN/µm, `centre` [D] µm.
    """

    barrier: Array
    distance: Array
    stiffness: Array
    centre: Array
    axis: int = static()

    def energy_and_force(
        self, position: Array, time: Array, size: Array, periodic: tuple[bool, ...]
    ) -> tuple[Array, Array]:
        """Energy [N,*b] pN µm and force [D,N,*b] pN."""
        place = relative(position, self.centre, size, periodic)
        curvature = 4 / self.distance**2
        bend = place[self.axis] ** 2 * curvature - 1
        force = [-self.stiffness * d for d in place]
        energy = self.barrier * bend * bend
        for axis, d in enumerate(place):
            if axis != self.axis:
                energy = energy - 0.5 * force[axis] * d
        force[self.axis] = -4 * self.barrier * curvature * place[self.axis] * bend
        return energy, stack(force)


@pytree
class GridEnergy:
    """U [] pN µm interpolated on a grid."""

    grid: GridParams

    def energy_and_force(
        self, position: Array, time: Array, size: Array, periodic: tuple[bool, ...]
    ) -> tuple[Array, Array]:
        """Energy [N,*b] pN µm and force [D,N,*b] pN."""
        value, gradient = interpolate(self.grid, position, size, periodic)
        return value[0], -gradient[0]


@pytree
class CallableEnergy:
    """U as a user's function of one position, a time and parameters."""

    parameters: Any
    function: Callable[..., Any] = static()

    def energy_and_force(
        self, position: Array, time: Array, size: Array, periodic: tuple[bool, ...]
    ) -> tuple[Array, Array]:
        """Energy [N,*b] pN µm and force [D,N,*b] pN."""
        both = jax.value_and_grad(call(self.function, self.parameters))
        place = inside_box(position, size, periodic)
        energy, gradient = per_particle(both, place, time, self.parameters)
        return energy, -gradient


@pytree
class PotentialParams:
    """One potential, and `share` [N], 1 for the colloids that feel it and 0 for others, or None
    where all do.
    """

    potential: Any
    share: Array | None


@singledispatch
def _potential(config: Any, box: Box) -> Any:
    raise ConfigError(f"{config!r} is not a potential.")


def number(value: float | tuple[float, ...]) -> Array:
    """One or several numbers as an array of the process's precision."""
    return jnp.asarray(value, jax.dtypes.canonicalize_dtype(jnp.float64))


def centre_of(config: Any, box: Box) -> Array:
    """Centre [D] µm of a field; the box centre unless given."""
    return number(config.centre or tuple(length / 2 for length in box.size))


@_potential.register
def _(config: ConstantForce, box: Box) -> Constant:
    return Constant(number(config.force))


@_potential.register
def _(config: HarmonicTrap, box: Box) -> Harmonic:
    return Harmonic(number(config.stiffnesses(box.dimension)), centre_of(config, box))


@_potential.register
def _(config: DoubleWell, box: Box) -> Wells:
    return Wells(
        number(config.barrier),
        number(config.distance),
        number(config.stiffness),
        centre_of(config, box),
        config.axis,
    )


@_potential.register
def _(config: GridPotential, box: Box) -> GridEnergy:
    return GridEnergy(grid_params(config.grid, box.dimension, components=False))


@_potential.register
def _(config: CallablePotential, box: Box) -> CallableEnergy:
    parameters = as_leaves(config.parameters)
    check_result("callable potential", config.resolved, parameters, box.dimension, ())
    return CallableEnergy(parameters, config.resolved)


def potential_params(
    potentials: Sequence[Potential],
    box: Box,
    species: Sequence[str],
    species_of_slot: Sequence[int],
) -> tuple[PotentialParams, ...]:
    """Arrays of potentials that were checked by `core.fields.check_fields`.

    `species` names the species table, `species_of_slot` [N] is the index of every colloid into it.
    Raises ConfigError for a function that cannot be traced or returns the wrong shape.
    """
    result = []
    for config in potentials:
        feels = [not config.species or species[i] in config.species for i in species_of_slot]
        share = None if all(feels) else number(tuple(float(x) for x in feels))
        result.append(PotentialParams(_potential(config, box), share))
    return tuple(result)


def _sum(
    position: Array,
    time: Array,
    potentials: Sequence[PotentialParams],
    size: Array,
    periodic: tuple[bool, ...],
) -> tuple[Array, Array]:
    energy, force = jnp.zeros_like(position[0]), jnp.zeros_like(position)
    for params in potentials:
        value, push = params.potential.energy_and_force(position, time, size, periodic)
        share = 1 if params.share is None else params.share
        energy, force = energy + share * value, force + share * push
    return energy, force


def force_at(
    position: Array,
    time: Array,
    potentials: Sequence[PotentialParams],
    size: Array,
    periodic: tuple[bool, ...],
) -> Array:
    """Force -∇U [D,N,*b] in pN of all potentials at positions [D,N,*b] µm and a time [] or [*b] s.

    size [D,*b or 1s] µm and `periodic` describe the box.
    """
    return _sum(position, time, potentials, size, periodic)[1]


def energy_at(
    position: Array,
    time: Array,
    potentials: Sequence[PotentialParams],
    size: Array,
    periodic: tuple[bool, ...],
) -> Array:
    """Energy [N,*b] in pN µm of every colloid in all potentials; arguments as for `force_at`."""
    return _sum(position, time, potentials, size, periodic)[0]


def _hyperbolic(q: Array) -> tuple[Array, Array]:
    f = 1 / (1 + q)
    return f, -f * f


def _exponential(q: Array) -> tuple[Array, Array]:
    f = jnp.exp(-q)
    return f, -f


def _gaussian(q: Array) -> tuple[Array, Array]:
    f = jnp.exp(-0.5 * q * q)
    return f, -q * f


def _inverse(q: Array) -> tuple[Array, Array]:
    f = 1 / jnp.maximum(q, 1)
    return f, jnp.where(q > 1, -f * f, 0)


KERNELS = {
    "hyperbolic": _hyperbolic,
    "exponential": _exponential,
    "gaussian": _gaussian,
    "inverse": _inverse,
}
"""(f, f') of the distance over the length, for every kernel of `core.fields.Sources`."""


@pytree
class SourceField:
    """Σ strength f(distance/length) over S point sources, by the minimum image.

    `points` [S,D] µm, `strength` [S] or [], `length` λ [S] or [] µm. Kernel as in
    `core.fields.Sources`.
    """

    points: Array
    strength: Array
    length: Array
    kernel: str = static()

    def value(self, position: Array, space: Space) -> Array:
        """Values [...] at positions [...,D] µm."""
        return self._terms(position, space)[0]

    def gradient(self, position: Array, space: Space) -> Array:
        """Gradients [...,D] per µm at positions [...,D] µm; a source adds 0 where it is."""
        return self._terms(position, space)[1]

    def distance(self, position: Array, space: Space) -> Array:
        """Distance [...] µm from the nearest source."""
        points = jnp.asarray(self.points, position.dtype)
        return jnp.min(space.distance(points, position[..., None, :]), axis=-1)

    def _terms(self, position: Array, space: Space) -> tuple[Array, Array]:
        points = jnp.asarray(self.points, position.dtype)
        away = space.displacement(points, position[..., None, :])
        square = jnp.sum(away * away, axis=-1)
        apart = square > 0
        distance = jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)
        f, slope = KERNELS[self.kernel](distance / self.length)
        pull = self.strength * slope / (self.length * jnp.where(apart, distance, 1))
        pull = jnp.where(apart, pull, 0)
        return jnp.sum(self.strength * f, axis=-1), jnp.sum(pull[..., None] * away, axis=-2)


def source_field(config: Sources) -> SourceField:
    """Arrays of a set of sources."""
    return SourceField(
        number_table(config.points), number(config.strength), number(config.length), config.kernel
    )


def number_table(rows: tuple[tuple[float, ...], ...]) -> Array:
    """Rows of numbers [S,D] as an array of the process's precision."""
    return jnp.asarray(rows, jax.dtypes.canonicalize_dtype(jnp.float64))
