"""Evaluating on any engine, one swarm at a time: the loop that owns the engine, in Python."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.contracts import Agent, AgentInputs, Engine
from swarmctl.core.errors import ConfigError, SwarmctlError
from swarmctl.core.spec import AgentSpec
from swarmctl.core.state import Space, mean_present, renew_rows
from swarmctl.envs.episode import EngineEpisode
from swarmctl.envs.scenario import Scenario, check_engine
from swarmctl.training.figures import Evaluation, mean_rewards


@dataclass(frozen=True)
class EngineEnv:
    """Scenario x engine. Raises CapabilityError or ConfigError if they do not fit."""

    scenario: Scenario
    engine: Engine

    def __post_init__(self) -> None:
        check_engine(self.scenario, self.engine)

    @property
    def spec(self) -> AgentSpec:
        """What an agent is told."""
        return self.scenario.agent_spec(self.engine.spec)


def evaluate_on_engine(
    env: EngineEnv, agent: Agent, episodes: int = 1, seed: int = 0, deterministic: bool = True
) -> Evaluation:
    """Run an agent for whole episodes on any engine, one after the other; the engine stays open.

    The engine is stopped after every episode, and when anything goes wrong. Raises SwarmctlError
    for a fault of the engine: an episode that was cut short counts for nothing. Raises
    PolicyFileError or CapabilityError if the agent does not fit, ConfigError for no episodes.
    """
    if episodes < 1:
        raise ConfigError(f"evaluate: episodes must be at least 1, got {episodes}.")
    agent.check(env.spec)
    runs = []
    for episode in range(episodes):
        try:
            runs.append(_one_episode(env, agent, seed + episode, deterministic))
        finally:
            env.engine.stop("the episode is over")
    returns = np.array([returned for returned, _ in runs], float)
    return Evaluation(returns[:, 0], returns[:, 1:], np.array([found for _, found in runs], float))


def _one_episode(
    env: EngineEnv, agent: Agent, seed: int, deterministic: bool
) -> tuple[np.ndarray, list[float]]:
    """(returns [1+S], measure after every decision)."""
    spec = env.engine.spec
    episode = EngineEpisode(env.scenario, env.engine)
    space = Space(jnp.asarray(spec.box, spec.dtype), spec.periodic)
    act = jax.jit(agent.act, static_argnames="deterministic")
    observation = episode.reset(seed)
    memory, key = agent.init_memory(env.spec), jax.random.key(seed)
    returned, measure = np.zeros(1 + len(spec.species)), [0.0]
    for _ in range(env.scenario.horizon):
        swarm = episode.swarm
        assert swarm is not None
        key, act_key = jax.random.split(key)
        inputs = AgentInputs(swarm, observation, space)
        output, memory = act(inputs, memory, act_key, deterministic=deterministic)
        step = episode.step_command if agent.output == "command" else episode.step
        observation, reward, _, _, info = step(output)
        moved = episode.swarm
        assert moved is not None
        if "fault" in info:
            raise SwarmctlError(
                f"{env.scenario.id}: engine {spec.name!r} failed after {int(moved.step)} of "
                f"{env.scenario.horizon} decisions: {info['fault']}"
            )
        memory = renew_rows(memory, agent.init_memory(env.spec), moved.identity != swarm.identity)
        weight = jnp.asarray(info["active"], reward.dtype)
        returned += np.asarray(mean_rewards(jnp.asarray(reward)[None], weight[None], spec))[0]
        counts = jnp.asarray(info["active"]) & moved.present
        found = float(mean_present(env.scenario.measure(moved, space), counts))
        measure.append(found if bool(counts.any()) else measure[-1])
        if not bool(np.asarray(info["remaining"]).any()):
            break
    measure += [measure[-1]] * (env.scenario.horizon + 1 - len(measure))
    return returned, measure[1:]
