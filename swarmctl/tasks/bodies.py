"""Rewards for moving rigid bodies: turning one, and bringing one to a place."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.contracts import Task
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree, static
from swarmctl.core.world import World
from swarmctl.observe.bodies import bodies_of
from swarmctl.observe.pairs import length

Array = jax.Array


def _check_planar(spec: EngineSpec, reader: str, body: int) -> None:
    spec.check_body(body, reader)
    if spec.dimension != 2:
        raise CapabilityError(
            f"{reader} needs a plane; engine {spec.name!r} is {spec.dimension}D. Give the world "
            "two box lengths, or use another task."
        )


def _check_one_body(spec: EngineSpec, reader: str, credit: str) -> None:
    """Pushes are known summed over all bodies, so that credit by pushes needs a single one."""
    if credit != "equal" and len(spec.bodies) != 1:
        raise ConfigError(
            f"{reader}: credit {credit!r} needs a world with one body, engine {spec.name!r} has "
            f"{len(spec.bodies)}; use credit equal, or leave the other bodies out."
        )


@pytree
class RotateBody(Task):
    """Pays for turning a body: scale x its mean angular velocity ω over the last intervals (2D).

    `credit` says who gets how much of it:
    - "equal": everyone who is present ω/n;
    - "torque": |ω| τ_i/Σ_j |τ_j|, in the share of the true torque τ_i = r × F_i that a colloid
      exerted. Who pushed the wrong way pays;
    - "own": τ_i/γ, the turn rate that the push of colloid i alone makes. This is what the body
      would lose without it, its counterfactual, and adds up to ω but for noise and other torques.

    Attributes:
        scale: [] s/rad.
        friction: γ [] pN s µm, rotational friction of the body, for credit "own".
        body: index. direction: "ccw" or "cw", which way round pays.
        window: number of intervals that count, from the last one on; those before the start count
            as 0. Above 1 an action is paid for the following ones, too.
    """

    scale: Array
    friction: Array | None = None
    body: int = static(default=0)
    direction: Literal["ccw", "cw"] = static(default="ccw")
    credit: Literal["equal", "torque", "own"] = static(default="torque")
    window: int = static(default=1)

    def __post_init__(self) -> None:
        for name, allowed in (
            ("direction", ("ccw", "cw")),
            ("credit", ("equal", "torque", "own")),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"rotate body: {name} {getattr(self, name)!r}; allowed: {', '.join(allowed)}."
                )
        if self.window < 1:
            raise ConfigError(f"rotate body: window must be at least 1, got {self.window}.")

    def check(self, spec: EngineSpec) -> None:
        """Raise ConfigError or CapabilityError unless there is such a body in a plane."""
        _check_planar(spec, "RotateBody", self.body)
        _check_one_body(spec, "RotateBody", self.credit)
        if self.credit == "own" and self.friction is None:
            raise ConfigError(
                "RotateBody: credit own needs the body's rotational friction; give `friction`."
            )

    def init(self, state: SwarmState, space: Space) -> Any:
        """What each colloid added in earlier intervals, newest first [N, window - 1]."""
        return jnp.zeros((state.capacity, self.window - 1), state.position.dtype)

    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward [N], never terminated, memory)."""
        added = jnp.where(state.present, self._added(state), 0)
        recent = jnp.concatenate([added[:, None], memory], axis=1)
        way = 1 if self.direction == "ccw" else -1
        reward = jnp.where(state.present, self.scale * way * jnp.mean(recent, axis=1), 0)
        return reward, jnp.zeros(reward.shape, bool), recent[:, : self.window - 1]

    def _added(self, state: SwarmState) -> Array:
        """Each colloid's part [N] in rad/s of the last interval's turning."""
        bodies, present = bodies_of(state), state.present
        turn = bodies.angular_velocity[self.body]
        if self.credit == "equal":
            return jnp.full(state.capacity, turn / jnp.maximum(jnp.sum(present), 1))
        torque = jnp.where(present, bodies.push_torque, 0)
        if self.credit == "own":
            assert self.friction is not None
            return torque / self.friction
        total = jnp.sum(jnp.abs(torque))
        return jnp.where(total > 0, jnp.abs(turn) * torque / jnp.where(total > 0, total, 1), 0)


@pytree
class TransportBody(Task):
    """Pays for bringing a body to a pose: scale x how much its error fell; done when it is there.

    The error is the mean distance of its beads from where they ought to be, for the nearest of the
    equivalent poses (after Heuthe et al., Science Robotics 9, eado5888, 2024). When every bead is
    within `radius` of its place, everyone earns `bonus` and is done. Make one by `transport`.

    `credit`: "equal" gives everyone who is present 1/n of the fall; "own" gives each what the fall
    would have been less without its push (counterfactual): the body's motion without colloid i is
    the true one less what the force F_i and the torque τ_i do against the frictions.

    Attributes:
        targets: [P,B,2] µm, places of all beads of the world in P equivalent poses.
        radius: [] µm. scale: [] 1/µm. bonus: [].
        friction: [2] pN s/µm along the body's axes; rotational_friction: [] pN s µm.
    """

    targets: Array
    radius: Array
    scale: Array
    bonus: Array
    friction: Array
    rotational_friction: Array
    body: int = static(default=0)
    credit: Literal["equal", "own"] = static(default="equal")

    def __post_init__(self) -> None:
        if self.credit not in ("equal", "own"):
            raise ConfigError(f"transport body: credit {self.credit!r}; allowed: equal, own.")

    def check(self, spec: EngineSpec) -> None:
        """Raise ConfigError or CapabilityError unless there is such a body in a plane."""
        _check_planar(spec, "TransportBody", self.body)
        _check_one_body(spec, "TransportBody", self.credit)
        shape, beads = jnp.shape(self.targets), sum(spec.beads)
        if len(shape) != 3 or shape[1:] != (beads, 2) or not shape[0]:
            raise ConfigError(
                f"TransportBody: targets of shape {shape}; engine {spec.name!r} has {beads} beads, "
                f"so that they must be (poses, {beads}, 2)."
            )

    def init(self, state: SwarmState, space: Space) -> Any:
        """Last error, the same in all rows [N] µm."""
        mean, _ = self.errors(state, bodies_of(state).bead, space)
        return jnp.full(state.capacity, mean)

    def errors(self, state: SwarmState, bead: Array, space: Space) -> tuple[Array, Array]:
        """Mean and largest distance [...] µm of beads [...,B,2] from the nearest pose."""
        mine = bodies_of(state).body_of_bead == self.body
        away = length(space.displacement(bead[..., None, :, :], self.targets))
        mean = jnp.sum(jnp.where(mine, away, 0), axis=-1) / jnp.sum(mine)
        return jnp.min(mean, axis=-1), jnp.min(jnp.max(jnp.where(mine, away, 0), -1), axis=-1)

    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward [N], terminated [N], error [N] µm)."""
        present = state.present
        mean, largest = self.errors(state, bodies_of(state).bead, space)
        there = largest <= self.radius
        if self.credit == "own":
            gain = self.errors(state, self._beads_without(state, space), space)[0] - mean
        else:
            gain = (memory - mean) / jnp.maximum(jnp.sum(present), 1)
        reward = self.scale * gain + jnp.where(there, self.bonus, 0)
        error = jnp.full(state.capacity, mean)
        return jnp.where(present, reward, 0), present & there, error

    def _beads_without(self, state: SwarmState, space: Space) -> Array:
        """Where all beads were [N,B,2] µm had colloid i not pushed in the last interval."""
        bodies = bodies_of(state)
        force = jnp.where(state.present[:, None], bodies.push_force, 0)
        torque = jnp.where(state.present, bodies.push_torque, 0)
        angle, centre = bodies.angle[self.body], bodies.centre[self.body]
        c, s = jnp.cos(angle), jnp.sin(angle)
        axes = jnp.stack([jnp.stack([c, s]), jnp.stack([-s, c])])
        moved = (force @ axes.T / self.friction) @ axes * state.interval
        turned = torque / self.rotational_friction * state.interval
        arm = space.displacement(centre, bodies.bead)
        c, s = jnp.cos(turned)[:, None], jnp.sin(turned)[:, None]
        back = jnp.stack([c * arm[:, 0] + s * arm[:, 1], c * arm[:, 1] - s * arm[:, 0]], axis=-1)
        return centre + back - moved[:, None]


def transport(
    world: World,
    goal: tuple[float, float],
    angle: float,
    radius: float,
    scale: float,
    bonus: float,
    symmetry: int = 2,
    credit: Literal["equal", "own"] = "equal",
) -> TransportBody:
    """The task of bringing the only body of a world to a goal (µm) and an angle (rad).

    `symmetry`: after how many parts of a full turn the body looks the same, 2 for a rod.
    """
    if len(world.bodies) != 1 or world.bodies[0].count != 1:
        raise ConfigError("transport: the world must have exactly one body.")
    body = world.bodies[0]
    beads = body.shape.outline()[:, :2]
    poses = []
    for part in range(symmetry):
        turn = angle + 2 * np.pi * part / symmetry
        c, s = np.cos(turn), np.sin(turn)
        poses.append(np.asarray(goal) + beads @ np.asarray([[c, s], [-s, c]]))
    along, about = body.frictions(world.fluid.viscosity, 2)
    return TransportBody(
        jnp.asarray(np.stack(poses), float),
        jnp.asarray(radius, float),
        jnp.asarray(scale, float),
        jnp.asarray(bonus, float),
        jnp.asarray(along, float),
        jnp.asarray(about[0], float),
        credit=credit,
    )
