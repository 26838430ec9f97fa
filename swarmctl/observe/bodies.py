"""Where a rigid body lies and how it is turned, as a colloid sees it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.core.contracts import Observable
from swarmctl.core.errors import ConfigError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Bodies, Space, SwarmState
from swarmctl.core.tree import pytree, static
from swarmctl.observe.pairs import length, own_frame, require_plane, unit

Array = jax.Array


def bodies_of(state: SwarmState) -> Bodies:
    """The bodies of a swarm. Raises ConfigError if there are none."""
    if state.bodies is None:
        raise ConfigError("a body is read, but the swarm has no bodies; add one to the world.")
    return state.bodies


def lever(arm: Array, director: Array) -> Array:
    """Moment arm r × n̂ [N] µm of a thrust along directors [N,2] at arms r [N,2] from a centre.

    Positive where the thrust turns anticlockwise.
    """
    return arm[..., 0] * director[..., 1] - arm[..., 1] * director[..., 0]


@pytree
class BodyFrame(Observable):
    """A body in the colloid's own frame (2D): where it is, how it is turned, what a push would do.

    Unit direction to its centre and d/(d + λ); cosine and sine of `symmetry` times the angle from
    the director to the body's x axis; unit direction to the nearest bead and g/(g + λ) with the gap
    g to its surface; the colloid's place along the body's x and y axes over λ; and the moment arm
    of a thrust along the director about the body's centre over λ, positive if anticlockwise.
    `length` λ [] µm; `body` index; `symmetry`: 2 for rods, whose two ends are alike, 1 for none.
    """

    length: Array
    body: int = static(default=0)
    symmetry: int = static(default=2)

    def check(self, spec: EngineSpec) -> None:
        """Raise CapabilityError in 3D and ConfigError if there is no such body."""
        require_plane(spec, "BodyFrame")
        spec.check_body(self.body, "BodyFrame")

    def names(self, spec: EngineSpec) -> tuple[str, ...]:
        """Eleven values."""
        body = spec.bodies[self.body]
        what = ("forward", "left", "distance", "angle cos", "angle sin", "bead forward")
        more = ("bead left", "bead gap", "place along", "place across", "lever arm")
        return tuple(f"{body} {each}" for each in what + more)

    def init(self, state: SwarmState, space: Space) -> Any:
        """No memory."""
        return ()

    def observe(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Any]:
        """Return ([N,11], memory)."""
        bodies, n = bodies_of(state), state.director
        centre, angle = bodies.centre[self.body], bodies.angle[self.body]
        towards = space.displacement(state.position, centre)
        away = length(towards)
        axis = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        relative = self.symmetry * (angle - jnp.arctan2(n[:, 1], n[:, 0]))
        to_bead, gap = nearest_bead(state, self.body, space)
        place = own_frame(-towards[None], axis[None])[0]
        columns = [
            own_frame(unit(towards), n),
            (away / (away + self.length))[:, None],
            jnp.stack([jnp.cos(relative), jnp.sin(relative)], axis=-1),
            own_frame(unit(to_bead), n),
            (gap / (gap + self.length))[:, None],
            place / self.length,
            (lever(-towards, n) / self.length)[:, None],
        ]
        values = jnp.concatenate(columns, axis=-1)
        return jnp.where(state.present[:, None], values, 0), memory


def nearest_bead(state: SwarmState, body: int, space: Space) -> tuple[Array, Array]:
    """Vector [N,D] µm from every colloid's centre to the nearest bead's, and distance [N] µm from
    the bead's surface, 0 within.
    """
    bodies = bodies_of(state)
    towards = space.displacement(state.position[:, None], bodies.bead[None])
    gap = jnp.where(bodies.body_of_bead == body, length(towards) - bodies.bead_radius, jnp.inf)
    index = jnp.argmin(gap, axis=1)[:, None]
    return (
        jnp.take_along_axis(towards, index[..., None], axis=1)[:, 0],
        jnp.maximum(jnp.take_along_axis(gap, index, axis=1)[:, 0], 0),
    )
