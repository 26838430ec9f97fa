"""Swarms with parameters of their own, in training and in evaluation."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from swarmctl.agents.deep.actor_critic import ActorCriticConfig
from swarmctl.core.errors import CapabilityError
from swarmctl.core.randomise import Randomise, extreme, middle_world
from swarmctl.envs.functional import EnvParams, SwarmEnv, staggered_ages
from swarmctl.physics.parameters import MotionParams
from swarmctl.physics.randomised import draw_params, drawn_axes
from swarmctl.physics.stiffness import check_stiffness

Array = jax.Array


def env_axes(env: SwarmEnv, randomise: Randomise | None) -> Any:
    """Axes of an environment's parameters for `jax.vmap`: None unless something is randomised.

    Raises CapabilityError for an engine whose parameters are not those of the motion, ConfigError
    if the time step is too long for the extremes that can be drawn.
    """
    if randomise is None:
        return None
    params = env.params().engine
    if not isinstance(params, MotionParams):
        raise CapabilityError(
            f"randomise: engine {env.engine.spec.name!r} has no parameters that can be drawn; use "
            "engine 'jax', or leave the section [randomise] out."
        )
    scenario = env.scenario
    check_stiffness(middle_world(scenario.world, randomise, scenario.control_interval, extreme))
    axes = drawn_axes(params, scenario.world, randomise, scenario.control_interval)
    nothing: Any = None
    return EnvParams(axes, nothing)


def draw_env_params(
    env: SwarmEnv, params: EnvParams, randomise: Randomise, keys: Array
) -> EnvParams:
    """Parameters of an environment with the engine's drawn for every key [B]; see `env_axes`."""
    scenario = env.scenario
    engine = draw_params(keys, params.engine, scenario.world, randomise, scenario.control_interval)
    return dataclasses.replace(params, engine=engine)


def drawn_params(
    env: SwarmEnv,
    params: EnvParams,
    randomise: Randomise | None,
    config: ActorCriticConfig,
    seed: Array,
    update: Array,
) -> EnvParams:
    """Parameters of a training's swarms, by seed, swarm and number of its episode alone.

    Nothing of it has to be remembered, and a resumed training draws the same again. Of episodes
    that end early the next one goes on with the same parameters; where a rollout holds several
    episodes, all of them have the same.
    """
    if randomise is None:
        return params
    horizon = env.scenario.horizon
    ages = staggered_ages(config.swarms, config.rollout, horizon)
    key = jax.random.fold_in(jax.random.key(seed), 2)

    def one(swarm: Array, episode: Array) -> Array:
        return jax.random.fold_in(jax.random.fold_in(key, swarm), episode)

    keys = jax.vmap(one)(jnp.arange(config.swarms), (ages + update * config.rollout) // horizon)
    return draw_env_params(env, params, randomise, keys)
