"""What a colloid senses of the others: signals, neighbours, density, order, the group's centre."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.contracts import Observable
from swarmctl.core.errors import ConfigError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree, static
from swarmctl.observe.pairs import (
    Pairs,
    length,
    of_species,
    own_frame,
    pairs,
    require_plane,
    unit,
)

Array = jax.Array


def signal(pair: Pairs, sources: Array, decay: Array) -> Array:
    """Σ_j λ/(λ + d_ij) [N] over other colloids j in `sources` bool [N] or [N,N]; `decay` λ [] µm.

    The concentration that sources of equal strength make, as around a `PointSource`.
    """
    counted = pair.others & sources
    away = jnp.where(counted, pair.distance, 0)
    return jnp.sum(jnp.where(counted, decay / (decay + away), 0), axis=1)


@pytree
class ParticleSensing(Observable):
    """scale x Σ_j λ/(λ + d_ij) over the colloids of a species, the colloid itself left out.

    `length` λ [] µm, `scale` []; `species` None means all. `change`: its change since the last
    control interval instead, 0 at the start.
    """

    length: Array
    scale: Array
    species: int | None = static(default=None)
    change: bool = static(default=False)

    def check(self, spec: EngineSpec) -> None:
        """Raise ConfigError if there is no such species."""
        if self.species is not None:
            spec.check_species(self.species, "ParticleSensing")

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """One value."""
        of = "colloids" if self.species is None else spec.species[self.species]
        return (f"signal of {of}" + (" change" if self.change else ""),)

    def _value(self, state: SwarmState, space: Space) -> Array:
        sources = of_species(state, self.species)
        return self.scale * signal(pairs(state, space), sources, self.length)

    def init(self, state: SwarmState, space: Space) -> Any:
        """Last value [N] if the change is sensed."""
        return self._value(state, space) if self.change else ()

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,1], memory)."""
        value = self._value(state, space)
        if not self.change:
            return value[:, None], memory
        return jnp.where(state.present, value - memory, 0)[:, None], value


@pytree
class Neighbours(Observable):
    """The `count` nearest others within `reach` [] µm, nearest first, in the own frame (2D).

    Of each: place forward and left over `reach`, cosine and sine of its heading relative to the own
    one (0 where a director is not seen), and 1; zeros where there are fewer. `species` None means
    all.
    """

    reach: Array
    count: int = static()
    species: int | None = static(default=None)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"neighbours: count must be at least 1, got {self.count}.")

    def check(self, spec: EngineSpec) -> None:
        """Raise CapabilityError in 3D and ConfigError if there is no such species."""
        require_plane(spec, "Neighbours")
        if self.species is not None:
            spec.check_species(self.species, "Neighbours")

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """Five values per neighbour."""
        of = "neighbour" if self.species is None else spec.species[self.species]
        what = ("forward", "left", "heading cos", "heading sin", "seen")
        return tuple(f"{of} {i + 1} {each}" for i in range(self.count) for each in what)

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N, 5 count], memory)."""
        pair = pairs(state, space)
        near = pair.others & of_species(state, self.species) & (pair.distance <= self.reach)
        listed = min(self.count, state.capacity)
        away = jnp.where(near, pair.distance, jnp.inf)
        _, index = jax.lax.top_k(-away, listed)
        seen = jnp.take_along_axis(near, index, axis=1)
        place = jnp.take_along_axis(pair.displacement, index[..., None], axis=1)
        place = own_frame(place, state.director) / self.reach
        known = seen & state.oriented[index] & state.oriented[:, None]
        heading = own_frame(state.director[index], state.director)
        heading = jnp.where(known[..., None], heading, 0)
        rows = jnp.concatenate(
            [jnp.where(seen[..., None], place, 0), heading, seen[..., None].astype(place.dtype)],
            axis=-1,
        ).reshape(state.capacity, 5 * listed)
        return jnp.pad(rows, ((0, 0), (0, 5 * (self.count - listed)))), memory


@pytree
class LocalDensity(Observable):
    """Share of the disc (ball in 3D) of radius `reach` [] µm around the colloid that others fill.

    Counted are those whose centre is within `reach`; each fills πR² (4πR³/3), with `radius` R []
    µm, or [S] per species.
    """

    reach: Array
    radius: Array

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """One value."""
        return ("local density",)

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,1], memory)."""
        pair = pairs(state, space)
        share = (radius_of(state, self.radius) / self.reach) ** state.dimension
        near = pair.others & (pair.distance <= self.reach)
        return jnp.sum(jnp.where(near, share, 0), axis=1)[:, None], memory


def radius_of(state: SwarmState, radius: Array) -> Array:
    """Radius [N] µm of every colloid, from one [] for all or one [S] per species."""
    radius = jnp.asarray(radius, state.position.dtype)
    return radius[state.species] if radius.ndim else jnp.full(state.capacity, radius)


@pytree
class PolarOrder(Observable):
    """Mean director of the colloid and the others within `reach` [] µm, in the own frame (2D).

    Directors that are not seen do not count.
    """

    reach: Array

    def check(self, spec: EngineSpec) -> None:
        """Raise CapabilityError in 3D."""
        require_plane(spec, "PolarOrder")

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """Two values."""
        return ("mean heading forward", "mean heading left")

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,2], memory)."""
        pair = pairs(state, space)
        near = (pair.others & (pair.distance <= self.reach)) | jnp.eye(state.capacity, dtype=bool)
        near &= (state.present & state.oriented)[None, :] & state.present[:, None]
        directors = jnp.where(near[..., None], state.director[None], 0)
        mean = jnp.sum(directors, axis=1) / jnp.maximum(jnp.sum(near, axis=1), 1)[:, None]
        seen = state.present & state.oriented
        return jnp.where(seen[:, None], own_frame(mean, state.director), 0), memory


@pytree
class GroupCentre(Observable):
    """Centre of the others within `reach` [] µm (infinity: of all), in the own frame (2D).

    Unit direction (forward, left) and distance over `scale` [] µm; zeros if there is nobody. Along
    periodic axes the centre is that of the nearest images.
    """

    reach: Array
    scale: Array

    def check(self, spec: EngineSpec) -> None:
        """Raise CapabilityError in 3D."""
        require_plane(spec, "GroupCentre")

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """Three values."""
        return ("group forward", "group left", "group distance")

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,3], memory)."""
        pair = pairs(state, space)
        centre = centre_of_others(pair, pair.others & (pair.distance <= self.reach))
        towards = own_frame(unit(centre), state.director)
        values = jnp.concatenate([towards, length(centre)[:, None] / self.scale], axis=-1)
        return jnp.where(state.present[:, None], values, 0), memory


def centre_of_others(pair: Pairs, near: Array) -> Array:
    """Mean displacement [N,D] µm to those in `near` bool [N,N]; 0 if there is nobody."""
    total = jnp.sum(jnp.where(near[..., None], pair.displacement, 0), axis=1)
    return total / jnp.maximum(jnp.sum(near, axis=1), 1)[:, None]
