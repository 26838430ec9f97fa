"""The fastest way through a steady flow: Zermelo's problem and its extremals."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.errors import ConfigError
from swarmctl.core.fields import Flow
from swarmctl.core.world import Box
from swarmctl.observe.pairs import unit
from swarmctl.physics.flow import flow_at, flow_params

Array = jax.Array

STEPS = 1000
"""Steps of the classical Runge-Kutta method along an extremal."""


@dataclasses.dataclass(frozen=True)
class Route:
    """The fastest way from a start to a goal.

    Attributes:
        time: s.
        departure, arrival: headings at both ends in rad, in [0, 2π).
        position: [S+1,2] µm from the start to the goal, at equal times.
        heading: [S+1,2] unit vectors along it.
    """

    time: float
    departure: float
    arrival: float
    position: np.ndarray
    heading: np.ndarray


def fastest_route(
    flows: Sequence[Flow],
    box: Box,
    start: tuple[float, float],
    goal: tuple[float, float],
    speed: float,
    longest: float | None = None,
    rays: int = 720,
) -> Route:
    """Solve Zermelo's problem: the fastest way of a swimmer of constant speed v, which may head
    anywhere, in a steady flow u(r) in the plane.

    The heading n of an extremal obeys (Zermelo 1931; Bryson and Ho, Applied Optimal Control, 1975)

        ṙ = v n + u,    ṅ = -Gᵀn + n (n·Gᵀn),    G_ij = ∂u_i/∂x_j

    A fan of extremals is followed back in time from the goal; those that pass near the start are
    refined by Newton's method for the heading at the goal and the time. The fastest is returned.

    Args:
        flows: of the world; time does not enter.
        box: of the world; the way may leave it along open axes.
        start, goal: µm.
        speed: v in µm/s.
        longest: s, ways that take longer are not looked for; 5 times the time in still water.
        rays: number of extremals in the fan.

    Raises ConfigError if no way is found.
    """
    with jax.enable_x64(True):
        still = math.dist(start, goal) / speed
        longest = 5 * still if longest is None else longest
        about = (flow_params(flows, box), jnp.asarray(box.size), jnp.asarray(speed))
        end, begin = jnp.asarray(goal), jnp.asarray(start)
        angles = jnp.arange(rays) * (2 * jnp.pi / rays)
        position, _ = _back(about, end, angles, jnp.asarray(longest), box.periodic, STEPS)
        offset = np.linalg.norm(np.asarray(position) - np.asarray(start)[:, None], axis=1)
        when, least = offset.argmin(axis=0), offset.min(axis=0)
        lowest = (least <= np.roll(least, 1)) & (least <= np.roll(least, -1)) & (when > 0)
        found: list[tuple[float, float]] = []
        for index in np.flatnonzero(lowest)[np.argsort(least[lowest])][:12]:
            guess = np.array([float(angles[index]), longest * when[index] / STEPS])
            miss = partial(_miss_and_slope, about, end, begin, periodic=box.periodic)
            if (root := _newton(miss, guess, 1e-9 * math.dist(start, goal))) is not None:
                found.append((root[1], root[0]))
        if not found:
            raise ConfigError(
                f"no way from {start} to {goal} µm at {speed:g} µm/s within {longest:g} s; the "
                "flow carries the swimmer off. Take a higher speed, a weaker flow or more time."
            )
        time, angle = min(found)
        back = _back(about, end, jnp.asarray([angle]), jnp.asarray(time), box.periodic, STEPS)
    position, heading = (np.asarray(x)[::-1, :, 0] for x in back)
    first, last = (math.atan2(n[1], n[0]) % (2 * math.pi) for n in (heading[0], heading[-1]))
    return Route(time, first, last, position, heading)


def _newton(step: Any, x: np.ndarray, tolerance: float) -> tuple[float, float] | None:
    for _ in range(30):
        value, slope = (np.asarray(part) for part in step(jnp.asarray(x)))
        if not np.isfinite(value).all():
            return None
        if np.linalg.norm(value) < tolerance:
            return float(x[0]), float(x[1])
        change = np.linalg.lstsq(slope, value, rcond=None)[0]
        change *= min(1.0, 0.2 / max(abs(change[0]), abs(change[1]) / max(x[1], 1e-12)))
        x = x - change
        if not x[1] > 0:
            return None
    return None


@partial(jax.jit, static_argnames=("periodic", "steps"))
def _back(
    about: Any,
    goal: Array,
    angles: Array,
    time: Array,
    periodic: tuple[bool, ...],
    steps: int,
) -> tuple[Array, Array]:
    """Extremals back from `goal` that arrive there at `angles` [R], for `time` s: positions and
    headings [steps+1,2,R]. `about` is (flows, box size, speed).
    """
    field, size, speed = about
    n = jnp.stack([jnp.cos(angles), jnp.sin(angles)])
    r = jnp.broadcast_to(goal[:, None], n.shape)
    advance = partial(_backstep, field, size, periodic, speed, time / steps)

    def body(state: tuple[Array, Array], _: None) -> Any:
        state = advance(*state)
        return state, state

    _, (positions, headings) = jax.lax.scan(body, (r, n), None, steps)
    return jnp.concatenate([r[None], positions]), jnp.concatenate([n[None], headings])


@partial(jax.jit, static_argnames="periodic")
def _miss_and_slope(
    about: Any, goal: Array, start: Array, unknown: Array, periodic: tuple[bool, ...]
) -> tuple[Array, Array]:
    """By how much the extremal of `unknown` (heading at the goal, time) misses the start [2] µm,
    and the derivative [2,2] of that.
    """

    def miss(unknown: Array) -> Array:
        positions, _ = _back(about, goal, unknown[:1], unknown[1], periodic, STEPS)
        return positions[-1, :, 0] - start

    return miss(unknown), jax.jacfwd(miss)(unknown)


def _backstep(
    field: Any,
    size: Array,
    periodic: tuple[bool, ...],
    speed: Array | float,
    step: Array,
    r: Array,
    n: Array,
) -> tuple[Array, Array]:
    """One step of the classical Runge-Kutta method, back in time."""

    def rate(r: Array, n: Array) -> tuple[Array, Array]:
        u, gradient = flow_at(r, jnp.zeros((), r.dtype), field, size, periodic)
        bend = jnp.einsum("jir,jr->ir", gradient, n)
        return -(speed * n + u), bend - n * jnp.sum(n * bend, axis=0)

    k1 = rate(r, n)
    k2 = rate(r + 0.5 * step * k1[0], n + 0.5 * step * k1[1])
    k3 = rate(r + 0.5 * step * k2[0], n + 0.5 * step * k2[1])
    k4 = rate(r + step * k3[0], n + step * k3[1])
    r, n = (
        x + step / 6 * (a + 2 * b + 2 * c + d)
        for x, a, b, c, d in zip((r, n), k1, k2, k3, k4, strict=True)
    )
    return r, n / jnp.sqrt(jnp.sum(n * n, axis=0))


def heading_map(
    flows: Sequence[Flow],
    box: Box,
    goal: tuple[float, float],
    speed: float,
    cells: int = 96,
    rays: int = 1440,
    longest: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Best headings [C,C,2] (unit vectors) and times [C,C] s to the goal, at the centres of C x C
    cells of the box; times are inf where the goal cannot be reached inside the box.

    A fan of extremals is followed back in time from the goal. The first that comes to a cell is the
    fastest way from there; headings are averaged over those that come within the time it takes to
    cross a cell. Cells that none reaches take the heading of their neighbours.
    """
    size = np.asarray(box.size)
    width = size / cells
    flow = flow_params(flows, box)
    longest = 4 * float(np.linalg.norm(size)) / speed if longest is None else longest
    grid = np.stack(np.meshgrid(*((np.arange(cells) + 0.5) * w for w in width), indexing="ij"))
    current, _ = flow_at(
        jnp.asarray(grid.reshape(2, -1)), jnp.zeros(()), flow, jnp.asarray(size), box.periodic
    )
    swift = float(jnp.sqrt(jnp.sum(current**2, axis=0)).max())
    step = 0.4 * float(width.min()) / (speed + swift)
    window = 0.7 * float(width.max()) / speed
    steps = math.ceil(longest / step)
    total, first = jax.jit(_march, static_argnums=(1, 2, 3, 4, 5))(
        flow, box, speed, steps, cells, rays, jnp.asarray(goal), step, window
    )
    heading = np.array(unit(total.reshape(cells, cells, 2)))
    time = np.array(first, float).reshape(cells, cells)
    return _filled(heading, np.isfinite(time)), time


def _march(
    flow: Any,
    box: Box,
    speed: float,
    steps: int,
    cells: int,
    rays: int,
    goal: Array,
    step: float,
    window: float,
) -> tuple[Array, Array]:
    """Sums of headings [C²,2] and times of first arrival [C²] of a fan of extremals."""
    size, periodic = jnp.asarray(box.size), box.periodic
    angles = jnp.arange(rays) * (2 * jnp.pi / rays)
    n = jnp.stack([jnp.cos(angles), jnp.sin(angles)])
    r = jnp.broadcast_to(goal[:, None], n.shape)
    advance = partial(_backstep, flow, size, periodic, speed, jnp.asarray(step))
    wraps = jnp.asarray(periodic)[:, None]

    def body(carry: Any, index: Array) -> Any:
        r, n, alive, total, first = carry
        cell = jnp.floor(r / (size[:, None] / cells)).astype(jnp.int32)
        inside = (cell >= 0) & (cell < cells) | wraps
        alive = alive & inside.all(axis=0)
        cell = jnp.mod(cell, cells)
        where = jnp.where(alive, cell[0] * cells + cell[1], cells * cells)
        now = index * step
        first = first.at[where].min(now, mode="drop")
        fresh = now <= first.at[where].get(mode="fill", fill_value=-jnp.inf) + window
        total = total.at[where].add(jnp.where(fresh[:, None], n.T, 0), mode="drop")
        r, n = advance(r, n)
        return (r, n, alive, total, first), None

    total = jnp.zeros((cells * cells, 2), r.dtype)
    first = jnp.full(cells * cells, jnp.inf, r.dtype)
    carry = (r, n, jnp.ones(rays, bool), total, first)
    (_, _, _, total, first), _ = jax.lax.scan(body, carry, jnp.arange(steps))
    return total, first


def _filled(heading: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Spread headings [C,C,2] from known cells to the others, ring by ring."""
    heading = np.where(known[..., None], heading, 0)
    while not known.all():
        total, count = np.zeros_like(heading), np.zeros(known.shape)
        for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            for axis, by in enumerate(shift):
                if by:
                    beside = np.roll(known, by, axis)
                    edge = [slice(None)] * 2
                    edge[axis] = slice(0, 1) if by > 0 else slice(-1, None)
                    beside[tuple(edge)] = False
                    total += np.where(beside[..., None], np.roll(heading, by, axis), 0)
                    count += beside
        fresh = ~known & (count > 0)
        if not fresh.any():
            break
        heading = np.where(fresh[..., None], total, heading)
        known = known | fresh
    length = np.linalg.norm(heading, axis=-1, keepdims=True)
    return heading / np.where(length > 0, length, 1)
