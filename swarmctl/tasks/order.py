"""Rewards for the order of a group: swirls, cohesion, gathering, shapes."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp

from swarmctl.core.contracts import Task
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Space, SwarmState, mean_present
from swarmctl.core.tree import pytree, static
from swarmctl.observe.goals import check_point
from swarmctl.observe.neighbours import signal
from swarmctl.observe.pairs import pairs, unit

Array = jax.Array


def from_centre(state: SwarmState, space: Space) -> Array:
    """Places [N,D] µm of the colloids as seen from the centre of those present.

    Along periodic axes it holds for groups that are smaller than half the box.
    """
    count = jnp.maximum(jnp.sum(state.present), 1)
    return -jnp.sum(pairs(state, space).displacement, axis=1) / count


def swirl(state: SwarmState, space: Space) -> Array:
    """(r̂ × n̂)_z [N] of every colloid, r̂ pointing to it from the group's centre; 0 if absent.

    1 where a colloid heads anticlockwise around the centre, -1 clockwise (2D). Its mean is the
    order parameter O_R of Bäuerle et al., Nature Communications 11, 2547 (2020).
    """
    radial, n = unit(from_centre(state, space)), state.director
    share = radial[:, 0] * n[:, 1] - radial[:, 1] * n[:, 0]
    return jnp.where(state.present & state.oriented, share, 0)


@pytree
class SwirlOrder(Task):
    """Pays scale x (r̂ × n̂)_z, how much a colloid heads around the centre of the group (2D).

    `direction` "ccw" or "cw" says which way round pays; "either" pays for going with the majority,
    so that the mean reward is scale x |O_R|. `team`: everyone gets the mean. `scale` [].
    """

    scale: Array
    direction: Literal["ccw", "cw", "either"] = static(default="either")
    team: bool = static(default=False)

    def __post_init__(self) -> None:
        if self.direction not in ("ccw", "cw", "either"):
            raise ConfigError(
                f"swirl order: direction {self.direction!r}; allowed: ccw, cw, either."
            )

    def check(self, spec: EngineSpec) -> None:
        """Raise CapabilityError in 3D."""
        if spec.dimension != 2:
            raise CapabilityError(
                f"SwirlOrder needs a plane; engine {spec.name!r} is {spec.dimension}D. Give the "
                "world two box lengths, or use another task."
            )

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward [N], never terminated, memory)."""
        share = swirl(state, space)
        order = mean_present(share, state.present)
        way = jnp.where(order < 0, -1, 1) if self.direction == "either" else 1
        way = -1 if self.direction == "cw" else way
        share = jnp.broadcast_to(order, share.shape) if self.team else share
        reward = jnp.where(state.present, self.scale * way * share, 0)
        return reward, jnp.zeros(reward.shape, bool), memory


@pytree
class Cohesion(Task):
    """Pays for company: scale x C_i with C_i the mean of λ/(λ + d_ij) over the others.

    `change` pays how much C_i grew during the interval instead, which adds up to the gain.
    `length` λ [] µm, `scale` [].
    """

    length: Array
    scale: Array
    change: bool = static(default=True)

    def _value(self, state: SwarmState, space: Space) -> Array:
        pair = pairs(state, space)
        total = signal(pair, state.present, self.length)
        return total / jnp.maximum(jnp.sum(pair.others, axis=1), 1)

    def init(self, state: SwarmState, space: Space) -> Any:
        """Last value [N] if its change is paid."""
        return self._value(state, space) if self.change else ()

    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward [N], never terminated, memory)."""
        value = self._value(state, space)
        paid = self.scale * (value - memory if self.change else value)
        reward = jnp.where(state.present, paid, 0)
        return reward, jnp.zeros(reward.shape, bool), value if self.change else memory


@pytree
class GatherAt(Task):
    """Pays `scale` per µm of approach to a disc (ball), and `hold` per decision inside it.

    `point` [D] µm and `radius` [] µm of the disc; `scale` [] 1/µm, `hold` [].
    """

    point: Array
    radius: Array
    scale: Array
    hold: Array

    def check(self, spec: EngineSpec) -> None:
        """Raise ConfigError unless the point lies in the engine's space."""
        check_point(self.point, spec, "GatherAt")

    def _gap(self, state: SwarmState, space: Space) -> Array:
        return jnp.maximum(space.distance(state.position, self.point) - self.radius, 0)

    def init(self, state: SwarmState, space: Space) -> Any:
        """Last distance [N] µm from the disc."""
        return self._gap(state, space)

    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward [N], never terminated, distance from the disc [N] µm)."""
        gap = self._gap(state, space)
        reward = self.scale * (memory - gap) + jnp.where(gap <= 0, self.hold, 0)
        reward = jnp.where(state.present, reward, 0)
        return reward, jnp.zeros(reward.shape, bool), gap


def coverage(state: SwarmState, targets: Array, decay: Array, space: Space) -> Array:
    """How well targets [K,D] µm are occupied, [] in [0, 1].

    The mean over targets of λ/(λ + d), d the distance of the nearest colloid; `decay` λ [] µm.
    """
    away = space.distance(targets[:, None], state.position[None])
    nearest = jnp.min(jnp.where(state.present, away, jnp.inf), axis=1)
    return jnp.mean(decay / (decay + nearest))


@pytree
class Shape(Task):
    """Pays everyone scale x the growth of `coverage` of target points, which adds up.

    `Difference(Shape(...))` pays each colloid for what it adds. `targets` [K,D] µm, `length` λ []
    µm, `scale` [].
    """

    targets: Array
    length: Array
    scale: Array

    def check(self, spec: EngineSpec) -> None:
        """Raise ConfigError unless targets are points of the engine's space."""
        shape = jnp.shape(self.targets)
        if len(shape) != 2 or shape[1] != spec.dimension or not shape[0]:
            raise ConfigError(
                f"Shape: targets of shape {shape} do not fit engine {spec.name!r}; give one row "
                f"of {spec.dimension} coordinates per target."
            )

    def init(self, state: SwarmState, space: Space) -> Any:
        """Last coverage, the same in all rows [N]."""
        value = coverage(state, self.targets, self.length, space)
        return jnp.full(state.capacity, value)

    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward [N], never terminated, coverage [N])."""
        value = jnp.full(state.capacity, coverage(state, self.targets, self.length, space))
        reward = jnp.where(state.present, self.scale * (value - memory), 0)
        return reward, jnp.zeros(reward.shape, bool), value
