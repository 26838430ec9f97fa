"""Registration of all scenarios with Gymnasium."""

from __future__ import annotations

import gymnasium

from swarmctl.core import registry


def register_with_gymnasium() -> None:
    """Register every scenario as "swarmctl/<id>", single and vector; safe to call again."""
    for entry in registry.scenarios:
        gym_id = f"swarmctl/{entry.name}"
        if gym_id not in gymnasium.registry:
            gymnasium.register(
                gym_id,
                entry_point="swarmctl.envs.gym_env:SwarmGymEnv",
                vector_entry_point="swarmctl.envs.vector_env:SwarmVectorEnv",
                kwargs={"scenario": entry.name},
            )
