"""Groups that form because colloids swim only while they see enough of the others."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from swarmctl.agents.classical.geometry import directors, fastest, needs, swim
from swarmctl.agents.options import AgentConfig
from swarmctl.core.command import Command
from swarmctl.core.config import key as config_key
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import ConfigError, require_positive
from swarmctl.core.spec import AgentSpec
from swarmctl.core.tree import pytree
from swarmctl.observe.pairs import pairs

Array = jax.Array


@pytree
class Lavergne(Agent):
    """Rule of Lavergne, Wendehenne, Bäuerle and Bechinger (Science 364, 70, 2019).

    Colloid i perceives those ahead of it, within the half angle α of its director,

        P_i = Σ_{j in the cone} 1/(2π r_ij)

    It swims while P_i ≥ P*, and else only diffuses; it never steers. Groups form and stay together
    for narrow cones, and disperse for wide ones with a low threshold. The natural unit of P* is
    what a colloid in the centre of a uniform disc of N colloids and radius R₀ perceives,
    P_c = αN/(π²R₀).

    Attributes:
        speed: [N] µm/s.
        cosine: cos α [].
        threshold: P* [] 1/µm.
    """

    output: ClassVar[Literal["action", "command"]] = "command"
    speed: Array
    cosine: Array
    threshold: Array

    def check(self, spec: AgentSpec) -> None:
        """Raise CapabilityError unless the engine takes speed."""
        needs(spec, "lavergne", "speed")

    def init_memory(self, spec: AgentSpec) -> Any:
        """No memory."""
        return ()

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Command, Any]:
        """Return the command; there is no chance in the rule."""
        state = inputs.state
        near = pairs(state, inputs.space)
        director = directors(state)
        ahead = jnp.einsum("ijk,ik->ij", near.displacement, director)
        looking = (state.oriented & state.present)[:, None]
        seen = near.others & looking & (near.distance > 0) & (ahead >= self.cosine * near.distance)
        perceived = jnp.sum(jnp.where(seen, 1 / jnp.where(seen, near.distance, 1), 0), axis=1) / (
            2 * math.pi
        )
        return swim(state, jnp.where(perceived >= self.threshold, self.speed, 0)), memory


def central_perception(half_angle: float, colloids: int, radius: float) -> float:
    """P_c = αN/(π²R₀) in 1/µm: what is perceived in the centre of a uniform disc of `colloids`
    colloids and `radius` µm through a cone of half angle α rad.
    """
    return half_angle * colloids / (math.pi**2 * radius)


@dataclasses.dataclass(frozen=True)
class LavergneConfig(AgentConfig):
    """Keys of the rule of Lavergne et al. 2019."""

    name: ClassVar[str] = "lavergne"
    half_angle: float = config_key(math.pi / 4, "α: half the opening angle of the cone", "rad")
    threshold: float | None = config_key(
        None, "P*: swim while at least this much is seen; of the ratio below if left out", "1/um"
    )
    ratio: float = config_key(1.0, "P*/P_c with P_c = αN/(π²R₀), where no threshold is given")
    start_radius: float = config_key(
        106.0, "R₀ of P_c: radius of the disc where the colloids start", "um"
    )
    speed: float | None = config_key(None, "swim speed; the highest if left out", "um/s")

    def build(self, spec: AgentSpec) -> Lavergne:
        """Return the agent."""
        if not 0 < self.half_angle <= math.pi:
            raise ConfigError(
                f"{self.name}: half_angle must lie in (0, π], got {self.half_angle} rad."
            )
        require_positive(
            self.name,
            threshold=self.threshold,
            ratio=self.ratio,
            start_radius=self.start_radius,
            speed=self.speed,
        )
        threshold = self.threshold
        if threshold is None:
            count = spec.engine.capacity
            threshold = self.ratio * central_perception(self.half_angle, count, self.start_radius)
        return Lavergne(
            fastest(spec.engine, self.speed),
            jnp.asarray(math.cos(self.half_angle)),
            jnp.asarray(threshold),
        )
