"""Vision in cones, after the cones of Lavergne et al. 2019 and Heuthe et al. 2024."""

from __future__ import annotations

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp

from swarmctl.core.contracts import Observable
from swarmctl.core.errors import ConfigError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree, static
from swarmctl.observe.neighbours import radius_of
from swarmctl.observe.pairs import length, of_species, own_frame, pairs, require_plane

Array = jax.Array


@pytree
class VisionCones(Observable):
    """How much of every cone of the field of view others fill (2D).

    `cones` equal cones part the angles [-view/2, view/2] around the director, from right to left.
    In each, per channel, Σ_j min(1, 2R_j/d_ij) over what is within `reach`: the angle under which a
    colloid of radius R_j is seen at the distance d_ij. With kernel "inverse" it is Σ_j R_j/d_ij,
    without the bound (1/r sensing, Heuthe et al., Science Robotics 9, eado5888, 2024).

    Attributes:
        view: [] rad, full opening angle, at most 2π.
        reach: [] µm.
        radius: R, [] µm, or [S] per species of the world.
        cones: number of cones.
        species: one channel for each of these; () for one channel with all.
        bodies: one more channel with the beads of all bodies, at their own radius.
        kernel: "angle" or "inverse".
    """

    view: Array
    reach: Array
    radius: Array
    cones: int = static()
    species: tuple[int, ...] = static(default=())
    bodies: bool = static(default=False)
    kernel: Literal["angle", "inverse"] = static(default="angle")

    def __post_init__(self) -> None:
        if self.cones < 1:
            raise ConfigError(f"vision cones: cones must be at least 1, got {self.cones}.")
        if self.kernel not in ("angle", "inverse"):
            raise ConfigError(f"vision cones: kernel {self.kernel!r}; allowed: angle, inverse.")

    def check(self, spec: EngineSpec) -> None:
        """Raise CapabilityError in 3D, ConfigError without such a species or without bodies."""
        require_plane(spec, "VisionCones")
        for index in self.species:
            spec.check_species(index, "VisionCones")
        if self.bodies:
            spec.check_body(0, "VisionCones")
        view = float(self.view)
        if not 0 < view <= 2 * math.pi * (1 + 1e-6):
            raise ConfigError(f"vision cones: view must lie in (0, 2π] rad, got {view:g}.")

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """One value per cone and channel; the channels of a cone stand together."""
        channels = [spec.species[i] for i in self.species] or ["colloids"]
        channels += ["bodies"] * self.bodies
        return tuple(f"cone {c + 1} {of}" for c in range(self.cones) for of in channels)

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N, cones x channels], memory)."""
        pair = pairs(state, space)
        weight = self._weight(pair.distance, radius_of(state, self.radius), pair.others)
        cone = self._cone(pair.displacement, state.director)
        channels = [
            self._sums(cone, jnp.where(of_species(state, index), weight, 0))
            for index in (self.species or (None,))
        ]
        if self.bodies:
            assert state.bodies is not None
            towards = space.displacement(state.position[:, None], state.bodies.bead[None])
            weight = self._weight(length(towards), state.bodies.bead_radius, True)
            channels.append(self._sums(self._cone(towards, state.director), weight))
        values = jnp.stack(channels, axis=-1).reshape(state.capacity, -1)
        seeing = state.present & state.oriented
        return jnp.where(seeing[:, None], values, 0), memory

    def _weight(self, distance: Array, radius: Array, seen: Array | bool) -> Array:
        """What each thing [M] at `distance` [N,M] µm adds, [N,M]."""
        share = radius / jnp.maximum(distance, 1e-6 * self.reach)
        if self.kernel == "angle":
            share = jnp.minimum(1, 2 * share)
        return jnp.where(seen & (distance <= self.reach), share, 0)

    def _cone(self, towards: Array, director: Array) -> Array:
        """In which cone a displacement [N,M,2] lies, i32 [N,M]; -1 outside the field of view."""
        ahead = own_frame(towards, director)
        angle = jnp.arctan2(ahead[..., 1], ahead[..., 0])
        index = jnp.floor((angle / self.view + 0.5) * self.cones).astype(jnp.int32)
        # The far edge belongs to the last cone, also where π is rounded up.
        inside = jnp.abs(angle) <= self.view / 2 * (1 + 1e-6)
        return jnp.where(inside, jnp.clip(index, 0, self.cones - 1), -1)

    def _sums(self, cone: Array, weight: Array) -> Array:
        """Sums [N,cones] of weights [N,M]."""
        chosen = cone[:, None, :] == jnp.arange(self.cones)[:, None]
        return jnp.sum(jnp.where(chosen, weight[:, None, :], 0), axis=-1)
