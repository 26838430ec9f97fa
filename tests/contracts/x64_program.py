"""Run every registered scenario with every registered agent in float64, in one program under
jit, vmap and scan.
"""

from __future__ import annotations

from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402

from swarmctl.agents.options import make_agent  # noqa: E402
from swarmctl.core import registry  # noqa: E402
from swarmctl.core.contracts import Agent, AgentInputs  # noqa: E402
from swarmctl.core.spec import Discrete  # noqa: E402
from swarmctl.envs.functional import SwarmEnv  # noqa: E402
from swarmctl.envs.make import make_env  # noqa: E402

STEPS, SWARMS = 3, 2


COLLOIDS = 3
CHANGED: dict[str, dict[str, Any]] = {"PredatorPrey-v0": {"predators": 1}}
SENSING = ("constant", "gradient-climber", "random", "run-and-tumble", "steer-to-source")


def rollout(env: SwarmEnv, agent: Agent, key: Any, params: Any) -> Any:
    space = env.space(params)
    keys = jax.random.split(key, 2 * STEPS + 1)
    observation, state = env.reset(keys[0], params)
    memory = jax.tree.map(jnp.asarray, agent.init_memory(env.spec))
    step = env.step if agent.output == "action" else env.step_command

    def body(carry: Any, given: Any) -> Any:
        state, observation, memory = carry
        inputs = AgentInputs(env.swarm(state, params), observation, space)
        output, memory = agent.act(inputs, memory, given[0])
        observation, state, reward, terminated, truncated, _ = step(given[1], state, output, params)
        shown = (output, observation, reward, terminated, truncated, env.swarm(state, params))
        return (state, observation, memory), shown

    drawn = (keys[1 : STEPS + 1], keys[STEPS + 1 :])
    return jax.lax.scan(body, (state, observation, memory), drawn)[1]


def main() -> None:
    for entry in registry.scenarios:
        more = CHANGED.get(entry.name, {})
        env = make_env(entry.name, colloids=COLLOIDS, horizon=STEPS, **more)
        assert env.spec.engine.dtype == "float64"
        params, keys = env.params(), jax.random.split(jax.random.key(0), SWARMS)
        names = (
            SENSING if entry.name.startswith("Chemotaxis") else (env.scenario.baselines["best"],)
        )
        for name in ("ppo", *names):
            agent = make_agent(name, env.spec)
            run = jax.jit(jax.vmap(lambda k, p, e=env, a=agent: rollout(e, a, k, p), (0, None)))
            output, observation, reward, terminated, truncated, swarm = run(keys, params)
            where, lead = f"{entry.name} with {name}", (SWARMS, STEPS)
            discrete = isinstance(env.spec.action_space, Discrete) and agent.output == "action"
            for leaf in jax.tree.leaves(output):
                kinds = ("int32",) if discrete else ("float64", "bool")
                assert str(leaf.dtype) in kinds, f"{where}: actions are {leaf.dtype}"
            for leaf in (observation, reward, swarm.position, swarm.time):
                assert str(leaf.dtype) == "float64", f"{where}: {leaf.dtype}"
            assert observation.shape == (*lead, COLLOIDS, env.spec.observation_size), where
            assert reward.shape == terminated.shape == (*lead, COLLOIDS), where
            assert truncated.tolist() == [[False] * (STEPS - 1) + [True]] * SWARMS, where
            assert bool(jnp.isfinite(observation).all()), where
        print(entry.name)
    print("all ids")


if __name__ == "__main__":
    main()
