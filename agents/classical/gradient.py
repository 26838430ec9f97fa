"""Controllers that climb a gradient by sensing the change of a field in time."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from swarmctl.agents.classical.moves import Moves, moves_for
from swarmctl.agents.options import AgentConfig
from swarmctl.core.config import key as config_key
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.spec import AgentSpec
from swarmctl.core.tree import pytree, static

Array = jax.Array


def sensed_index(spec: AgentSpec, agent: str) -> int:
    """Return which number of the observation is the field's change.

    Raises CapabilityError if there is none.
    """
    if "field change" not in spec.observation_names:
        raise CapabilityError(
            f"{agent} needs the observation 'field change'; {spec.scenario} gives "
            f"{', '.join(spec.observation_names)}."
        )
    return spec.observation_names.index("field change")


@pytree
class RunAndTumble(Agent):
    """Run while the field rises, tumble when it falls, like E. coli (Berg and Brown, Nature 239,
    500, 1972).

    A tumble turns left or right, as a coin says, for a number of decisions drawn uniformly from 1
    to `longest`. `threshold` []: a change above it counts as rising. Memory: decisions of tumbling
    left, with the sign of the turn.
    """

    output: ClassVar[Literal["action", "command"]] = "action"
    moves: Moves
    threshold: Array
    longest: Array
    sensed: int = static()

    def init_memory(self, spec: AgentSpec) -> Any:
        """Decisions of tumbling left i32 [N], negative for right turns, and whether the colloid ran
        bool [N].
        """
        count = spec.engine.capacity
        return jnp.zeros(count, jnp.int32), jnp.zeros(count, bool)

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return an action per colloid.

        Chance is part of the rule, so `deterministic` makes no difference.
        """
        left, ran = memory
        length_key, side_key = jax.random.split(key)
        falling = ran & (left == 0) & (inputs.observation[:, self.sensed] <= self.threshold)
        length = jax.random.randint(length_key, left.shape, 1, self.longest + 1, jnp.int32)
        side = jnp.where(jax.random.bernoulli(side_key, shape=left.shape), 1, -1).astype(jnp.int32)
        left = jnp.where(falling, length * side, left)
        turning = jnp.sign(left)
        return self.moves.action(turning == 0, turning), (left - turning, turning == 0)


@dataclasses.dataclass(frozen=True)
class RunAndTumbleConfig(AgentConfig):
    """Keys of run-and-tumble."""

    name: ClassVar[str] = "run-and-tumble"
    threshold: float = config_key(0.0, "changes of the observation above this count as rising")
    longest: int = config_key(5, "longest tumble in decisions")

    def build(self, spec: AgentSpec) -> RunAndTumble:
        """Return the agent."""
        if self.longest < 1:
            raise ConfigError(
                f"{self.name}: longest must be at least 1 decision, got {self.longest}."
            )
        return RunAndTumble(
            moves_for(spec),
            jnp.asarray(self.threshold),
            jnp.asarray(self.longest),
            sensed_index(spec, self.name),
        )


@pytree
class GradientClimber(Agent):
    """Estimates the gradient in its own frame from what it sensed and did, and steers along the
    estimate.

    In the frame of the colloid, b [2] is the estimated gradient (sensed change per interval of
    swimming). A turn by φ rotates it by -φ. A run of length p along the director senses p b_x +
    noise, and corrects the estimate like a Kalman filter with covariance P: gain K = P h/(h P h +
    R), h = (p, 0). Rotational diffusion and the curvature of the field let P grow by `forgetting`
    between decisions. It turns towards b until the direction lies within `acceptance`, then swims.

    Memory: b [N,2] and P as (P_xx, P_xy, P_yy) [N,3].
    """

    output: ClassVar[Literal["action", "command"]] = "action"
    moves: Moves
    turn_angle: Array
    acceptance: Array
    noise: Array
    forgetting: Array
    prior: Array
    sensed: int = static()
    moved: int = static()
    turned: int = static()

    def init_memory(self, spec: AgentSpec) -> Any:
        """No estimate, and the prior covariance."""
        count = spec.engine.capacity
        dtype = spec.engine.dtype
        covariance = jnp.asarray([1.0, 0.0, 1.0], dtype) * self.prior.astype(dtype)
        return jnp.zeros((count, 2), dtype), jnp.broadcast_to(covariance, (count, 3))

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return an action per colloid; there is no chance in the rule."""
        estimate, covariance = memory
        observation = inputs.observation
        angle = observation[:, self.turned] * self.turn_angle
        estimate, covariance = _turn_frame(estimate, covariance, angle)
        covariance = covariance + self.forgetting * jnp.asarray([1.0, 0.0, 1.0], covariance.dtype)
        path = observation[:, self.moved]
        xx, xy, yy = covariance[:, 0], covariance[:, 1], covariance[:, 2]
        spread = path * path * xx + self.noise
        gain = jnp.stack([path * xx, path * xy], axis=-1) / spread[:, None]
        surprise = observation[:, self.sensed] - path * estimate[:, 0]
        estimate = estimate + gain * surprise[:, None]
        covariance = jnp.stack(
            [
                xx - gain[:, 0] * path * xx,
                xy - gain[:, 0] * path * xy,
                yy - gain[:, 1] * path * xy,
            ],
            axis=-1,
        )
        bearing = jnp.arctan2(estimate[:, 1], estimate[:, 0])
        known = jnp.any(estimate != 0, axis=-1)
        turning = jnp.where(known & (jnp.abs(bearing) > self.acceptance), jnp.sign(bearing), 0)
        return self.moves.action(turning == 0, turning), (estimate, covariance)


def _turn_frame(estimate: Array, covariance: Array, angle: Array) -> tuple[Array, Array]:
    """Express estimate and covariance in a frame that turned by `angle` [N]."""
    c, s = jnp.cos(angle), jnp.sin(angle)
    x, y = estimate[:, 0], estimate[:, 1]
    xx, xy, yy = covariance[:, 0], covariance[:, 1], covariance[:, 2]
    turned = jnp.stack([c * x + s * y, c * y - s * x], axis=-1)
    cross = 2 * c * s * xy
    return turned, jnp.stack(
        [
            c * c * xx + cross + s * s * yy,
            (c * c - s * s) * xy + c * s * (yy - xx),
            s * s * xx - cross + c * c * yy,
        ],
        axis=-1,
    )


@dataclasses.dataclass(frozen=True)
class GradientClimberConfig(AgentConfig):
    """Keys of the gradient climber.

    The defaults were tuned on Chemotaxis-v0 by `benchmarks/tune_climber.py`.
    """

    name: ClassVar[str] = "gradient-climber"
    acceptance: float = config_key(0.4, "swim if the estimate is within this angle", "rad")
    noise: float = config_key(0.003, "variance of a sensed change that is not gradient")
    forgetting: float = config_key(0.002, "growth of the estimate's variance per decision")
    prior: float = config_key(0.2, "variance of the gradient before anything was sensed")

    def build(self, spec: AgentSpec) -> GradientClimber:
        """Return the agent."""
        names = spec.observation_names
        for needed in ("forward speed", "turn rate"):
            if needed not in names:
                raise CapabilityError(
                    f"{self.name} needs the observation {needed!r}; {spec.scenario} gives "
                    f"{', '.join(names)}."
                )
        if min(self.noise, self.prior) <= 0 or self.forgetting < 0:
            raise ConfigError(
                f"{self.name}: noise and prior must be positive, forgetting at least 0."
            )
        engine = spec.engine
        return GradientClimber(
            moves_for(spec),
            jnp.asarray(max(engine.turn_rate_max) * engine.control_interval),
            jnp.asarray(self.acceptance),
            jnp.asarray(self.noise),
            jnp.asarray(self.forgetting),
            jnp.asarray(self.prior),
            sensed=sensed_index(spec, self.name),
            moved=names.index("forward speed"),
            turned=names.index("turn rate"),
        )
