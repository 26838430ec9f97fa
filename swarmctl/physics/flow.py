"""Flows of the fluid, their velocity gradient, and how it turns particles (Jeffery 1922).

Arrays are components first and batch last. A gradient is [D,D,N,*b] with [i,j] = ∂u_i/∂x_j.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch
from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.errors import ConfigError
from swarmctl.core.fields import (
    CallableFlow,
    Flow,
    GridFlow,
    PoiseuilleFlow,
    ShearFlow,
    TaylorGreenFlow,
    UniformFlow,
    VortexFlow,
)
from swarmctl.core.tree import pytree, static
from swarmctl.core.world import Box
from swarmctl.physics.fields import (
    as_leaves,
    call,
    centre_of,
    check_result,
    inside_box,
    number,
    per_particle,
    relative,
)
from swarmctl.physics.grids import GridParams, grid_params, interpolate

Array = jax.Array


def _vector(entries: Mapping[int, Array], like: Array, dimension: int) -> Array:
    zero = jnp.zeros_like(like)
    return jnp.stack([zero + entries.get(i, 0) for i in range(dimension)])


def _tensor(entries: Mapping[tuple[int, int], Array], like: Array, dimension: int) -> Array:
    rows = ({j: v for (k, j), v in entries.items() if k == i} for i in range(dimension))
    return jnp.stack([_vector(row, like, dimension) for row in rows])


@pytree
class Uniform:
    """The same `velocity` [D] µm/s everywhere."""

    velocity: Array

    def at(
        self, position: Array, time: Array, size: Array, periodic: tuple[bool, ...]
    ) -> tuple[Array, Array]:
        """Velocity [D,N,*b] µm/s and its gradient [D,D,N,*b] 1/s."""
        like = position[0] + 0 * self.velocity[0]
        entries = dict(enumerate(self.velocity))
        dimension = position.shape[0]
        return _vector(entries, like, dimension), _tensor({}, like, dimension)


@pytree
class Shear:
    """Simple shear of `rate` [] 1/s about `centre` [D] µm."""

    rate: Array
    centre: Array
    axis: int = static()
    gradient_axis: int = static()

    def at(
        self, position: Array, time: Array, size: Array, periodic: tuple[bool, ...]
    ) -> tuple[Array, Array]:
        """Velocity [D,N,*b] µm/s and its gradient [D,D,N,*b] 1/s."""
        y = relative(position, self.centre, size, periodic)[self.gradient_axis]
        u, dimension = self.rate * y, position.shape[0]
        gradient = _tensor({(self.axis, self.gradient_axis): self.rate}, u, dimension)
        return _vector({self.axis: u}, u, dimension), gradient


@pytree
class Poiseuille:
    """Parabola of height `speed` [] µm/s and `width` [] µm about `centre` [D] µm, across axes."""

    speed: Array
    width: Array
    centre: Array
    axis: int = static()
    across: tuple[int, ...] = static()

    def at(
        self, position: Array, time: Array, size: Array, periodic: tuple[bool, ...]
    ) -> tuple[Array, Array]:
        """Velocity [D,N,*b] µm/s and its gradient [D,D,N,*b] 1/s."""
        place = relative(position, self.centre, size, periodic)
        scale = 2 / self.width
        q = [scale * place[axis] for axis in self.across]
        profile = 1 - jnp.asarray(sum(x * x for x in q))
        inside = profile > 0
        u = self.speed * jnp.where(inside, profile, 0)
        slope = jnp.where(inside, -2 * self.speed * scale, 0)
        entries = {(self.axis, j): slope * x for j, x in zip(self.across, q, strict=True)}
        dimension = position.shape[0]
        return _vector({self.axis: u}, u, dimension), _tensor(entries, u, dimension)


_SERIES = [(-1) ** n / math.factorial(n + 1) for n in range(16)]


def _lamb_oseen(q: Array) -> tuple[Array, Array]:
    # (1 - e^-q)/q and its derivative; the power series where the derivative would cancel
    small = q < 0.5
    safe = jnp.where(small, 1, q)
    decay = jnp.exp(-q)
    g = -jnp.expm1(-safe) / safe
    slope = (decay - g) / safe
    series, series_slope = jnp.zeros_like(q), jnp.zeros_like(q)
    near = jnp.where(small, q, 0)
    for coefficient in reversed(_SERIES):
        series_slope = series_slope * near + series
        series = series * near + coefficient
    return jnp.where(small, series, g), jnp.where(small, series_slope, slope)


def _rankine(q: Array) -> tuple[Array, Array]:
    g = 1 / jnp.maximum(q, 1)
    return g, jnp.where(q > 1, -g * g, 0)


def _gaussian(q: Array) -> tuple[Array, Array]:
    g = jnp.exp(-q)
    return g, -g


PROFILES: dict[str, Callable[[Array], tuple[Array, Array]]] = {
    "lamb-oseen": _lamb_oseen,
    "rankine": _rankine,
    "gaussian": _gaussian,
}
"""(g, g') of q = r²/core², for every profile of `core.fields.VortexFlow`."""


@pytree
class Vortex:
    """u = Ω g(r²/core²) r about `centre` [D] µm; `rate` Ω [] rad/s, `core` [] µm."""

    rate: Array
    core: Array
    centre: Array
    profile: str = static()
    axes: tuple[int, int] = static()

    def at(
        self, position: Array, time: Array, size: Array, periodic: tuple[bool, ...]
    ) -> tuple[Array, Array]:
        """Velocity [D,N,*b] µm/s and its gradient [D,D,N,*b] 1/s."""
        place = relative(position, self.centre, size, periodic)
        a, b = self.axes
        inverse = 1 / self.core
        x, y = place[a] * inverse, place[b] * inverse
        g, slope = PROFILES[self.profile](x * x + y * y)
        turn, bend = self.rate * g, 2 * self.rate * slope
        entries = {
            (a, a): -bend * x * y,
            (a, b): -turn - bend * y * y,
            (b, a): turn + bend * x * x,
            (b, b): bend * x * y,
        }
        dimension = position.shape[0]
        velocity = {a: -turn * place[b], b: turn * place[a]}
        return _vector(velocity, turn, dimension), _tensor(entries, turn, dimension)


@pytree
class TaylorGreen:
    """u = speed [-cos x sin z, sin x cos z] with x, z the distances from `centre` [D] µm over
    `length` [] µm.
    """

    speed: Array
    length: Array
    centre: Array
    axes: tuple[int, int] = static()

    def at(
        self, position: Array, time: Array, size: Array, periodic: tuple[bool, ...]
    ) -> tuple[Array, Array]:
        """Velocity [D,N,*b] µm/s and its gradient [D,D,N,*b] 1/s."""
        place = relative(position, self.centre, size, periodic)
        a, b = self.axes
        inverse = 1 / self.length
        x, z = place[a] * inverse, place[b] * inverse
        sx, cx, sz, cz = jnp.sin(x), jnp.cos(x), jnp.sin(z), jnp.cos(z)
        rate = self.speed * inverse
        stretch, turn = rate * sx * sz, rate * cx * cz
        entries = {(a, a): stretch, (a, b): -turn, (b, a): turn, (b, b): -stretch}
        dimension = position.shape[0]
        velocity = {a: -self.speed * cx * sz, b: self.speed * sx * cz}
        return _vector(velocity, stretch, dimension), _tensor(entries, stretch, dimension)


@pytree
class GridVelocity:
    """u [D] µm/s interpolated on a grid."""

    grid: GridParams

    def at(
        self, position: Array, time: Array, size: Array, periodic: tuple[bool, ...]
    ) -> tuple[Array, Array]:
        """Velocity [D,N,*b] µm/s and the gradient [D,D,N,*b] 1/s of what is interpolated."""
        return interpolate(self.grid, position, size, periodic)


@pytree
class CallableVelocity:
    """u as a user's function of one position, a time and parameters."""

    parameters: Any
    function: Callable[..., Any] = static()

    def at(
        self, position: Array, time: Array, size: Array, periodic: tuple[bool, ...]
    ) -> tuple[Array, Array]:
        """Velocity [D,N,*b] µm/s and its gradient [D,D,N,*b] 1/s."""
        function = call(self.function, self.parameters)

        def twice(*args: Any) -> tuple[Array, Array]:
            velocity = function(*args)
            return velocity, velocity

        def both(*args: Any) -> tuple[Array, Array]:
            gradient, velocity = jax.jacfwd(twice, has_aux=True)(*args)
            return velocity, gradient

        place = inside_box(position, size, periodic)
        return per_particle(both, place, time, self.parameters)


@singledispatch
def _flow(config: Any, box: Box) -> Any:
    raise ConfigError(f"{config!r} is not a flow.")


@_flow.register
def _(config: UniformFlow, box: Box) -> Uniform:
    return Uniform(number(config.velocity))


@_flow.register
def _(config: ShearFlow, box: Box) -> Shear:
    return Shear(number(config.rate), centre_of(config, box), config.axis, config.gradient_axis)


@_flow.register
def _(config: PoiseuilleFlow, box: Box) -> Poiseuille:
    across: tuple[int, ...] = (config.gradient_axis,)
    if config.shape == "tube":
        across = tuple(axis for axis in range(3) if axis != config.axis)
    speed, width = number(config.speed_max), number(config.width)
    return Poiseuille(speed, width, centre_of(config, box), config.axis, across)


@_flow.register
def _(config: VortexFlow, box: Box) -> Vortex:
    rate, core = number(config.rate), number(config.core)
    return Vortex(rate, core, centre_of(config, box), config.profile, config.axes)


@_flow.register
def _(config: TaylorGreenFlow, box: Box) -> TaylorGreen:
    speed, length = number(config.speed), number(config.length)
    return TaylorGreen(speed, length, centre_of(config, box), config.axes)


@_flow.register
def _(config: GridFlow, box: Box) -> GridVelocity:
    return GridVelocity(grid_params(config.grid, box.dimension, components=True))


@_flow.register
def _(config: CallableFlow, box: Box) -> CallableVelocity:
    parameters, dimension = as_leaves(config.parameters), box.dimension
    check_result("callable flow", config.resolved, parameters, dimension, (dimension,))
    return CallableVelocity(parameters, config.resolved)


def flow_params(flows: Sequence[Flow], box: Box) -> tuple[Any, ...]:
    """Arrays of flows that were checked by `core.fields.check_fields`.

    Raises ConfigError for a function that cannot be traced or returns the wrong shape.
    """
    return tuple(_flow(config, box) for config in flows)


def flow_at(
    position: Array,
    time: Array,
    flows: Sequence[Any],
    size: Array,
    periodic: tuple[bool, ...],
) -> tuple[Array, Array]:
    """Velocity [D,N,*b] µm/s and its gradient [D,D,N,*b] 1/s of all flows together.

    position [D,N,*b] µm, time [] or [*b] s; size [D,*b or 1s] µm and `periodic` describe the box.
    """
    dimension = position.shape[0]
    velocity = jnp.zeros_like(position)
    gradient = jnp.zeros((dimension, *position.shape), position.dtype)
    for flow in flows:
        u, du = flow.at(position, time, size, periodic)
        velocity, gradient = velocity + u, gradient + du
    return velocity, gradient


def spin(gradient: Array) -> Array:
    """Angular velocity ½∇×u of the fluid in rad/s: [1,N,*b] in 2D, [3,N,*b] in 3D.

    It is the angular velocity of a free sphere, too.
    """
    g = gradient
    if g.shape[0] == 2:
        return 0.5 * (g[1, 0] - g[0, 1])[None]
    return 0.5 * jnp.stack([g[2, 1] - g[1, 2], g[0, 2] - g[2, 0], g[1, 0] - g[0, 1]])


def shape_factor(aspect: Array) -> Array:
    """Λ = (r² - 1)/(r² + 1) of a spheroid, with r its length along the director over its width."""
    return (aspect * aspect - 1) / (aspect * aspect + 1)


def jeffery_spin(gradient: Array, director: Array, shape: Array) -> Array:
    """Angular velocity ½∇×u + Λ n × (E n) of free spheroids in rad/s, [1,N,*b] or [3,N,*b].

    gradient [D,D,N,*b] 1/s with its symmetric part E, director n [D,N,*b], shape factor Λ [N,*b or
    1s]. The director then follows ṅ = ½(∇×u) × n + Λ (E n - n n·E n) (Jeffery 1922).
    """
    n, dimension = director, director.shape[0]
    strained = [
        0.5 * sum((gradient[i, j] + gradient[j, i]) * n[j] for j in range(dimension))
        for i in range(dimension)
    ]
    if dimension == 2:
        turn = (n[0] * strained[1] - n[1] * strained[0])[None]
    else:
        turn = jnp.stack(
            [n[i] * strained[j] - n[j] * strained[i] for i, j in ((1, 2), (2, 0), (0, 1))]
        )
    return spin(gradient) + shape * turn
