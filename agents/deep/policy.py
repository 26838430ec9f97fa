"""A learned policy shared by all colloids: actor, critic and the scaling of observations."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from swarmctl.agents.deep.networks import GRU, MLP, init_gru, init_mlp
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import PolicyFileError
from swarmctl.core.spec import ActionSpace, AgentSpec, Discrete
from swarmctl.core.tree import pytree, static

Array = jax.Array

OBSERVATION_BOUND = 10.0
"""Scaled observations are cut here, in standard deviations."""


@pytree
class Policy(Agent):
    """Maps every colloid's own observation to its own action.

    Discrete actions are drawn from a categorical distribution, continuous ones from a Gaussian
    that is squashed by tanh, or cut at ±1.

    Attributes:
        actor: MLP from the features to the number of actions, or of continuous numbers.
        critic: MLP from the features to 1, the value; None in policies that only act. A critic that
            `sees_swarm` gets, beside the colloid's own features, their mean over the swarm.
        log_std: f [A] for continuous actions, else None; None in continuous policies that only act
            deterministically.
        mean, deviation: f [F], scaling of observations.
        space, observation_names: what the policy was made for.
        cell: recurrent cell, whose state [H] is the features; without it the features are the
            scaled observation.
        squash: "tanh" or "clip".
    """

    output: ClassVar[Literal["action", "command"]] = "action"
    actor: MLP
    critic: MLP | None
    log_std: Array | None
    mean: Array
    deviation: Array
    space: ActionSpace = static()
    observation_names: tuple[str, ...] = static()
    cell: GRU | None = None
    squash: Literal["tanh", "clip"] = static(default="tanh")
    sees_swarm: bool = static(default=False)

    def check(self, spec: AgentSpec) -> None:
        """Raise PolicyFileError, naming both sides, unless observation and actions are those it was
        made for.
        """
        if spec.action_space != self.space or spec.observation_names != self.observation_names:
            raise PolicyFileError(
                f"this policy was made for actions {self.space} and observations "
                f"({', '.join(self.observation_names)}); {spec.scenario} has actions "
                f"{spec.action_space} and "
                f"observations ({', '.join(spec.observation_names)}). Train a policy for it, or "
                "use the scenario with "
                "the keys that the policy was trained with."
            )

    def init_memory(self, spec: AgentSpec) -> Any:
        """State of the recurrent cell [N,H], or nothing."""
        return self.rest(spec.engine.capacity)

    def rest(self, *lead: int) -> Any:
        """The memory [*lead,H] of colloids that have seen nothing."""
        if self.cell is None:
            return ()
        return jnp.zeros((*lead, self.cell.sizes[1]), self.mean.dtype)

    def scale(self, observation: Array) -> Array:
        """Scaled observations [...,F]."""
        scaled = (observation - self.mean) / self.deviation
        return jnp.clip(scaled, -OBSERVATION_BOUND, OBSERVATION_BOUND)

    def features(self, scaled: Array, memory: Any) -> tuple[Array, Any]:
        """Return (features, new memory) of scaled observations [...,F] and the memory."""
        if self.cell is None:
            return scaled, memory
        state = self.cell(scaled, memory)
        return state, state

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return the likeliest action, or one drawn from the policy."""
        features, memory = self.features(self.scale(inputs.observation), memory)
        head = self.actor(features)
        if isinstance(self.space, Discrete):
            if deterministic:
                return jnp.argmax(head, axis=-1).astype(jnp.int32), memory
        elif deterministic or self.log_std is None:
            return self.action(head), memory
        raw, _ = self.sample(head, key)
        return self.action(raw), memory

    def sample(self, head: Array, key: Array) -> tuple[Array, Array]:
        """Draw from the distribution that `head` [...,K] describes.

        Returns (raw action, log probability [...]); raw is i32 [...] or the Gaussian number [...,A]
        before tanh.
        """
        if isinstance(self.space, Discrete):
            log_p = jax.nn.log_softmax(head)
            cumulative = jnp.cumsum(jnp.exp(log_p), axis=-1)
            u = jax.random.uniform(key, head.shape[:-1], head.dtype) * cumulative[..., -1]
            raw = jnp.sum(u[..., None] >= cumulative[..., :-1], axis=-1).astype(jnp.int32)
            return raw, _pick(log_p, raw)
        assert self.log_std is not None
        noise = jax.random.normal(key, head.shape, head.dtype)
        raw = head + jnp.exp(self.log_std) * noise
        return raw, self.log_prob(head, raw)[0]

    def log_prob(self, head: Array, raw: Array) -> tuple[Array, Array]:
        """Return (log probability [...] of the squashed action, entropy [...]) of raw actions under
        `head` [...,K].

        For continuous actions the entropy is the sample estimate -log p(a), which has the right
        gradient on average.
        """
        if isinstance(self.space, Discrete):
            log_p = jax.nn.log_softmax(head)
            return _pick(log_p, raw), -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
        assert self.log_std is not None
        z = (raw - head) / jnp.exp(self.log_std)
        gaussian = -0.5 * z**2 - self.log_std - 0.5 * math.log(2 * math.pi)
        # log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u)), stable for large |u|. A cut action
        # keeps the density of the number before the cut.
        squash = 2 * (math.log(2) - raw - jax.nn.softplus(-2 * raw)) * (self.squash == "tanh")
        log_p = jnp.sum(gaussian - squash, axis=-1)
        entropy = jnp.sum(0.5 + 0.5 * math.log(2 * math.pi) + self.log_std + squash, axis=-1)
        return log_p, entropy

    def action(self, raw: Array) -> Array:
        """Turn raw actions into actions of the scenario."""
        if isinstance(self.space, Discrete):
            return raw
        return jnp.tanh(raw) if self.squash == "tanh" else jnp.clip(raw, -1, 1)

    def judge(self, features: Array, present: Array) -> Array:
        """Value [...,N] of features [...,N,K]; `present` [...,N] says who counts in the mean over
        the swarm. Raises PolicyFileError without a critic.
        """
        if self.critic is None:
            raise PolicyFileError("this policy has no critic; it only acts.")
        if self.sees_swarm:
            weight = present[..., None].astype(features.dtype)
            total = jnp.sum(features * weight, axis=-2, keepdims=True)
            mean = total / jnp.maximum(jnp.sum(weight, axis=-2, keepdims=True), 1)
            features = jnp.concatenate([features, jnp.broadcast_to(mean, features.shape)], axis=-1)
        return self.critic(features)[..., 0]

    def value(self, observation: Array, memory: Any = (), present: Array | None = None) -> Array:
        """Value [...,N] of observations [...,N,F], after the memory of what came before."""
        if present is None:
            present = jnp.ones(observation.shape[:-1], bool)
        features, _ = self.features(self.scale(observation), memory)
        return self.judge(features, present)


def _pick(log_p: Array, index: Array) -> Array:
    """log_p[..., index] without a gather, whose gradient is a slow scatter."""
    chosen = index[..., None] == jnp.arange(log_p.shape[-1])
    return jnp.sum(jnp.where(chosen, log_p, 0), axis=-1)


def init_policy(
    key: Array,
    spec: AgentSpec,
    hidden: tuple[int, ...],
    log_std: float,
    memory: int = 0,
    sees_swarm: bool = False,
) -> Policy:
    """A fresh policy for an environment: nearly uniform actions, zero values.

    `memory` is the width of a recurrent cell, 0 for none.
    """
    dtype = jnp.dtype(spec.engine.dtype)
    size, space = spec.observation_size, spec.action_space
    outputs = space.n if isinstance(space, Discrete) else space.size
    actor_key, critic_key = jax.random.split(key)
    cell = init_gru(jax.random.fold_in(key, 2), size, memory, dtype) if memory else None
    width = memory or size
    return Policy(
        actor=init_mlp(actor_key, (width, *hidden, outputs), 0.01, dtype),
        critic=init_mlp(critic_key, (width * (1 + sees_swarm), *hidden, 1), 1.0, dtype),
        log_std=None if isinstance(space, Discrete) else jnp.full(outputs, log_std, dtype),
        mean=jnp.zeros(size, dtype),
        deviation=jnp.ones(size, dtype),
        space=space,
        observation_names=spec.observation_names,
        cell=cell,
        sees_swarm=sees_swarm,
    )
