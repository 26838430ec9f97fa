"""Episodes of agents on any engine, one swarm after another: the loop that owns the engine.

On engines made of pure functions `swarmctl.training.evaluate` does the same for many swarms in one
compiled call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.contracts import Agent, AgentInputs, Engine
from swarmctl.core.errors import PhysicsError, SwarmctlError
from swarmctl.core.spec import AgentSpec
from swarmctl.core.state import Space, SwarmState, mean_present, renew_rows
from swarmctl.envs.episode import EngineEpisode
from swarmctl.envs.scenario import Scenario, check_engine
from swarmctl.training.figures import mean_rewards

Array = jax.Array


@dataclass(frozen=True)
class Decision:
    """One decision: what was seen, asked, done and earned, the state after it, who is still in the
    episode (bool [N]), the fault that ended it, and what the engine says besides.
    """

    swarm: SwarmState
    observation: Array
    requested: Any
    applied: Any
    reward: np.ndarray
    active: np.ndarray
    remaining: np.ndarray
    fault: str | None
    info: Mapping[str, Any]


class EngineEnv:
    """A scenario on an engine, for agents that act on it decision by decision.

    Raises CapabilityError or ConfigError if the engine does not fit the scenario.
    """

    def __init__(self, scenario: Scenario, engine: Engine) -> None:
        check_engine(scenario, engine)
        self.scenario, self.engine = scenario, engine
        self.spec: AgentSpec = scenario.agent_spec(engine.spec)
        self.space = Space(jnp.asarray(engine.spec.box, engine.spec.dtype), engine.spec.periodic)
        self._episode = EngineEpisode(scenario, engine)
        self._actor: tuple[Agent, bool, Callable[..., Any]] | None = None

    def _act(self, agent: Agent, deterministic: bool) -> Callable[..., Any]:
        """The agent's decision as one program, compiled once as long as the agent is the same."""
        known = self._actor
        if known is None or known[0] is not agent or known[1] != deterministic:
            act = jax.jit(
                lambda swarm, seen, memory, key: agent.act(
                    AgentInputs(swarm, seen, self.space), memory, key, deterministic
                )
            )
            known = self._actor = agent, deterministic, act
        return known[2]

    def episode(
        self, agent: Agent, seed: int, deterministic: bool = True
    ) -> Iterator[SwarmState | Decision]:
        """Yield the first state, then every decision until the horizon or a fault of the engine.

        Raises PolicyFileError or CapabilityError if the agent does not fit, PhysicsError.
        """
        agent.check(self.spec)
        act = self._act(agent, deterministic)
        episode, memory = self._episode, agent.init_memory(self.spec)
        observation = episode.reset(seed)
        assert episode.swarm is not None
        yield episode.swarm
        key, over = jax.random.key(seed), False
        while not over:
            before = episode.swarm
            key, act_key = jax.random.split(key)
            output, memory = act(before, observation, memory, act_key)
            commands = agent.output == "command"
            result = episode.obey(output) if commands else episode.step(output)
            requested = output if commands else episode.asked
            seen, (observation, reward, _, over, info) = observation, result
            moved = episode.swarm
            memory = renew_rows(
                memory, agent.init_memory(self.spec), moved.identity != before.identity
            )
            yield Decision(
                moved,
                seen,
                requested,
                episode.applied,
                reward,
                info["active"],
                np.asarray(info["remaining"]),
                info.get("fault"),
                info,
            )


def earned(
    env: EngineEnv, agent: Agent, episodes: int, seed: int, deterministic: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns [E,1+S] of all colloids and of every species, and the measure [E,T] of episodes with
    the seeds `seed`, `seed` + 1, ...

    An episode is over when all have left it; the last measure stands for the rest. The engine is
    stopped after every episode, and when anything goes wrong. Raises SwarmctlError for a fault of
    the engine: an episode that was cut short counts for nothing.
    """
    spec = env.spec.engine
    mean = jax.jit(lambda reward, weight: mean_rewards(reward[None], weight[None], spec)[0])
    measure = jax.jit(
        lambda swarm, counts: mean_present(env.scenario.measure(swarm, env.space), counts)
    )
    returns = np.zeros((episodes, 1 + len(spec.species)))
    measures = np.zeros((episodes, env.scenario.horizon))
    for e in range(episodes):
        try:
            t, last = 0, 0.0
            for decision in env.episode(agent, seed + e, deterministic):
                if not isinstance(decision, Decision):
                    continue
                _refuse_fault(decision, env, t + 1)
                weight = decision.active.astype(spec.dtype)
                returns[e] += np.asarray(mean(decision.reward, weight))
                counts = decision.active & np.asarray(decision.swarm.present)
                last = float(measure(decision.swarm, counts)) if counts.any() else last
                measures[e, t:] = last
                t += 1
                if not decision.remaining.any():
                    break
        finally:
            env.engine.stop("the episode is over")
    return returns, measures


def _refuse_fault(decision: Decision, env: EngineEnv, count: int) -> None:
    if decision.fault is not None:
        raise SwarmctlError(
            f"{env.scenario.id}: engine {env.spec.engine.name!r} failed after {count} of "
            f"{env.scenario.horizon} decisions: {decision.fault}"
        )


def recorded(
    env: EngineEnv, agent: Agent, seed: int, deterministic: bool
) -> tuple[SwarmState, dict[str, Any]]:
    """One episode as NumPy arrays: states (leaves [T+1,...]), and by name what decisions were."""
    first, *decisions = env.episode(agent, seed, deterministic)
    steps = [d for d in decisions if isinstance(d, Decision)]
    if not steps or not isinstance(first, SwarmState):
        raise PhysicsError(f"{env.scenario.id}: the episode ended before its first decision.")
    return stacked(first, steps)


def stacked(first: SwarmState, steps: Sequence[Decision]) -> tuple[SwarmState, dict[str, Any]]:
    """States [T+1,...] and decisions [T,...] of an episode in NumPy; decisions by name."""

    def stack(*leaves: Any) -> np.ndarray:
        return np.stack([np.asarray(leaf) for leaf in leaves])

    states = jax.tree.map(stack, first, *(d.swarm for d in steps))
    named = {
        name: jax.tree.map(stack, *(getattr(d, name) for d in steps))
        for name in ("applied", "requested", "reward", "observation")
    }
    return states, named
