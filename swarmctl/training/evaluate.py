"""The verb `evaluate`: any agent on any scenario, over many swarms, by one function."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.agents.options import make_agent
from swarmctl.agents.saving import describe_policy, load_agent
from swarmctl.agents.team import Team, make_team
from swarmctl.core import registry
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import (
    CapabilityError,
    ConfigError,
    PhysicsError,
    UnknownNameError,
    nearest,
)
from swarmctl.core.randomise import Randomise
from swarmctl.core.state import SwarmState, mean_present, renew_rows
from swarmctl.core.statistics import bootstrap_interval
from swarmctl.envs.functional import EnvParams, SwarmEnv
from swarmctl.training.configs import EvaluateConfig
from swarmctl.training.engine_episodes import EngineEnv, earned, recorded
from swarmctl.training.experiment import SECTIONS, check_heeded, load_experiment, with_engine
from swarmctl.training.figures import Evaluation, mean_rewards
from swarmctl.training.randomised import draw_env_params, env_axes

Array = jax.Array


@dataclass(frozen=True)
class Rollout:
    """One recorded episode.

    States (leaves [T+1,...]), actions or commands, applied commands, rewards [T,N].
    """

    states: SwarmState
    applied: Any
    requested: Any
    reward: np.ndarray
    observation: np.ndarray


def act_and_step(
    env: SwarmEnv, agent: Agent, params: EnvParams, deterministic: bool, carry: Any, step_key: Array
) -> tuple[Any, dict[str, Any]]:
    """One decision of the loop that owns the engine: observe, act, move. For scans and for Python
    loops.

    The carry is (observation, environment state, memory); memory rows restart where the identity
    changed.
    """
    observation, state, memory = carry
    act_key, move_key = jax.random.split(step_key)
    swarm = env.swarm(state, params)
    output, memory = agent.act(
        AgentInputs(swarm, observation, env.space(params)), memory, act_key, deterministic
    )
    if agent.output == "command":
        requested = output
        result = env.step_command(move_key, state, output, params)
    else:
        requested = params.rules.actions.swarm_command(
            output, state.episode.active, env.engine.spec
        )
        result = env.step(move_key, state, output, params)
    following, state, reward, terminated, truncated, info = result
    moved = env.swarm(state, params)
    memory = renew_rows(memory, agent.init_memory(env.spec), moved.identity != swarm.identity)
    step = {
        "swarm": moved,
        "observation": observation,
        "requested": requested,
        "applied": info["applied"],
        "reward": reward,
        "active": info["active"],
        "terminated": terminated,
        "truncated": truncated,
        "flags": info["flags"],
    }
    return (following, state, memory), step


def evaluate_agent(
    env: SwarmEnv | EngineEnv,
    agent: Agent,
    episodes: int = 256,
    seed: int = 0,
    deterministic: bool = True,
    randomise: Randomise | None = None,
) -> Evaluation:
    """Run an agent for whole episodes in `episodes` swarms side by side; on an engine that is not
    made of pure functions, one after the other.

    Equal seeds give equal starts and noise to every agent, and equal parameters if `randomise` lets
    every swarm draw its own. Raises PolicyFileError or
    CapabilityError if the agent does not fit, PhysicsError if a motion failed.
    """
    if episodes < 1:
        raise ConfigError(f"evaluate: episodes must be at least 1, got {episodes}.")
    agent.check(env.spec)
    if isinstance(env, EngineEnv):
        if randomise is not None:
            raise CapabilityError(
                f"evaluate: engine {env.spec.engine.name!r} is what it is and cannot draw "
                "parameters; leave the section [randomise] out, or use engine 'jax'."
            )
        returns, measure = earned(env, agent, episodes, seed, deterministic)
        return Evaluation(returns[:, 0], returns[:, 1:], measure)
    keys, params = jax.random.split(jax.random.key(seed), episodes), env.params()
    if randomise is not None:
        own = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
        params = draw_env_params(env, params, randomise, own)
    returns, measure, failed = _episodes(env, deterministic, randomise)(agent, keys, params)
    if bool(np.any(failed)):
        raise PhysicsError(
            f"{env.scenario.id}: colloids overlapped or diverged in {int(np.sum(failed))} of "
            f"{episodes} swarms; "
            "use a shorter time_step."
        )
    returns = np.asarray(returns, float)
    return Evaluation(returns[:, 0], returns[:, 1:], np.asarray(measure, float))


@lru_cache(maxsize=16)
def _episodes(env: SwarmEnv, deterministic: bool, randomise: Randomise | None) -> Any:
    """The compiled evaluation; kept, so that several policies of one shape compile once."""

    @jax.jit
    @partial(jax.vmap, in_axes=(None, 0, env_axes(env, randomise)))
    def run(agent: Agent, run_key: Array, params: EnvParams) -> tuple[Array, Array, Array]:
        reset_key, loop_key = jax.random.split(run_key)
        observation, state = env.reset(reset_key, params)

        def body(carry: Any, step_key: Array) -> tuple[Any, tuple[Array, Array, Array]]:
            loop, last = carry
            loop, step = act_and_step(env, agent, params, deterministic, loop, step_key)
            swarm, flags = step["swarm"], step["flags"]
            weight = step["active"].astype(step["reward"].dtype)
            earned = mean_rewards(step["reward"][None], weight[None], env.spec.engine)[0]
            counts = step["active"] & swarm.present
            found = mean_present(env.scenario.measure(swarm, env.space(params)), counts)
            last = jnp.where(counts.any(), found, last)
            return (loop, last), (earned, last, flags.failed)

        loop = (observation, state, agent.init_memory(env.spec))
        start = (loop, jnp.zeros((), observation.dtype))
        keys = jax.random.split(loop_key, env.scenario.horizon)
        _, (earned, measure, failed) = jax.lax.scan(body, start, keys)
        return jnp.sum(earned, axis=0), measure, failed.any()

    return run


def record_episode(
    env: SwarmEnv | EngineEnv, agent: Agent, seed: int = 0, deterministic: bool = True
) -> Rollout:
    """Run one swarm for one episode and return everything that happened, as NumPy arrays."""
    agent.check(env.spec)
    if isinstance(env, EngineEnv):
        states, named = recorded(env, agent, seed, deterministic)
        return Rollout(states, **named)
    run = _episode(env, deterministic)
    first, steps = jax.tree.map(np.asarray, run(agent, jax.random.key(seed), env.params()))
    flags = steps["flags"]
    if np.any(flags.failed):
        raise PhysicsError(
            f"{env.scenario.id}: colloids overlapped or diverged; use a shorter time_step."
        )
    states = jax.tree.map(lambda a, b: np.concatenate([a[None], b]), first, steps["swarm"])
    return Rollout(
        states, steps["applied"], steps["requested"], steps["reward"], steps["observation"]
    )


@lru_cache(maxsize=16)
def _episode(env: SwarmEnv, deterministic: bool) -> Any:
    """The compiled recording of one episode."""

    @jax.jit
    def run(agent: Agent, run_key: Array, params: EnvParams) -> Any:
        reset_key, loop_key = jax.random.split(run_key)
        observation, state = env.reset(reset_key, params)
        first = env.swarm(state, params)
        body = partial(act_and_step, env, agent, params, deterministic)
        keys = jax.random.split(loop_key, env.scenario.horizon)
        _, steps = jax.lax.scan(body, (observation, state, agent.init_memory(env.spec)), keys)
        return first, steps

    return run


def evaluate(config: EvaluateConfig) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Evaluate agents on one scenario: agent -> "return" and "measure" -> (mean, low, high) with 95
    % intervals over swarms.

    On an engine that is not made of pure functions, such as a laboratory, episodes run one after
    the other. Where the experiment has a section [randomise], every swarm draws its own parameters;
    with another seed than the training's they are others. Raises UnknownNameError, PolicyFileError,
    CapabilityError, ConfigError.
    """
    check_heeded("evaluate", config.set)
    changed = with_engine(config.set, config.engine)
    experiment = load_experiment(_scenario_source(config), changed)
    env = experiment.any_env()
    try:
        results = _evaluate_all(env, config, experiment.randomise)
    finally:
        env.engine.close()
    if config.out is not None:
        from swarmctl.records.arrays import write_json_atomic

        figures = {
            name: {kind: finite(values) for kind, values in result.items()}
            for name, result in results.items()
        }
        write_json_atomic(
            config.out,
            {
                "scenario": env.scenario.id,
                "engine": env.spec.engine.name,
                "episodes": config.episodes,
                "results": figures,
            },
        )
    return results


def _evaluate_all(
    env: SwarmEnv | EngineEnv, config: EvaluateConfig, randomise: Randomise | None
) -> dict[str, dict[str, tuple[float, float, float]]]:
    results = {}
    for name in config.agents or tuple(dict.fromkeys(env.scenario.baselines.values())):
        agent = find_agent(name, env)
        evaluation = evaluate_agent(
            env, agent, config.episodes, config.seed, config.deterministic, randomise
        )
        results[name] = {
            "return": bootstrap_interval(evaluation.returns),
            "measure": bootstrap_interval(evaluation.final_measure),
        }
    return results


def finite(values: Iterable[float]) -> list[float | None]:
    """Return numbers as JSON knows them: None for NaN, such as the interval of a single episode."""
    return [value if math.isfinite(value) else None for value in values]


def _scenario_source(config: EvaluateConfig) -> Any:
    if config.scenario:
        return config.scenario
    for agent in config.agents:
        for name in (team_members(agent) or {"": agent}).values():
            if name not in registry.agents:
                return policy_experiment(name)
    return "Chemotaxis-v0"


def policy_experiment(path: str | Path) -> Mapping[str, Any]:
    """Return the tables of the experiment that a policy was trained in, as far as they are known.

    They are in the policy itself, so that it can be copied anywhere.
    """
    _check_known(str(path))
    about = describe_policy(path).get("about")
    tables = about if isinstance(about, dict) else {}
    tables = {name: tables[name] for name in SECTIONS if isinstance(tables.get(name), dict)}
    return tables or {"scenario": {"name": "Chemotaxis-v0"}}


def _check_known(name: str) -> None:
    """Raise UnknownNameError for what is neither a registered agent nor looks like a path."""
    if name not in registry.agents and not Path(name).exists() and "/" not in name:
        hint = nearest(name, registry.agents.names())
        raise UnknownNameError(f"Unknown agent {name!r}, and no folder of that name. {hint}")


def team_members(name: str) -> dict[str, str]:
    """Return agents by species of a text such as "predator=runs/hunt,prey=random"; else {}."""
    if "=" not in name or Path(name).exists():
        return {}
    pairs = [part.partition("=") for part in name.split(",")]
    if not all(species and sign and agent for species, sign, agent in pairs):
        raise ConfigError(
            f"agent {name!r}: a team is written species=agent,species=agent, such as "
            "predator=runs/hunt,prey=random."
        )
    return {species: agent for species, _, agent in pairs}


def find_agent(
    name: str, env: SwarmEnv | EngineEnv, options: Mapping[str, Any] | None = None
) -> Agent:
    """Return an agent: a registered classical one by name, a learned policy by its folder, or a
    team, "species=agent,species=agent".

    Raises UnknownNameError, PolicyFileError, ConfigError or CapabilityError.
    """
    if name in registry.agents:
        config_class = registry.agents[name].load()
        if config_class.learner:
            raise ConfigError(f"agent {name!r} must be trained first; give the folder of its run.")
        return make_agent(name, env.spec, **dict(options or {}))
    by_species = team_members(name)
    if by_species:
        made = {species: find_agent(source, env) for species, source in by_species.items()}
        chosen = {
            species: agent.members[agent.species.index(species)]
            if isinstance(agent, Team) and species in agent.species
            else agent
            for species, agent in made.items()
        }
        return make_team(env.spec, chosen, by_species)
    _check_known(name)
    agent = load_agent(name, env.spec)
    agent.check(env.spec)
    return agent
