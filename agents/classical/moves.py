"""Swimming and turning as actions of whichever action map a scenario has."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from swarmctl.core.errors import CapabilityError
from swarmctl.core.spec import ActionSpace, AgentSpec, Continuous
from swarmctl.core.tree import pytree, static

Array = jax.Array


@pytree
class Moves:
    """Where swim, turn left, turn right and rest are among the actions of a scenario."""

    space: ActionSpace = static()
    names: tuple[str, ...] = static()

    def action(self, swimming: Array, turning: Array) -> Array:
        """Return actions for `swimming` bool [N] and `turning` [N] (+1 left, -1 right, 0 straight).

        Where actions exclude one another turning comes first. In between, continuous turn rates use
        |turning| < 1.
        """
        if isinstance(self.space, Continuous):
            speed = jnp.where(swimming & (turning == 0), 1.0, -1.0)
            columns = {"speed": speed, "turn rate": jnp.clip(turning, -1, 1).astype(speed.dtype)}
            return jnp.stack([columns[name] for name in self.names], axis=-1)
        index = {name: self.names.index(name) for name in self.names}
        straight = jnp.where(swimming, index["swim"], index["rest"])
        turn = jnp.where(turning > 0, index["turn left"], index["turn right"])
        return jnp.where(turning != 0, turn, straight).astype(jnp.int32)


def moves_for(spec: AgentSpec) -> Moves:
    """Find the moves among a scenario's actions. Raises CapabilityError if it has none."""
    wanted = (
        {"speed", "turn rate"}
        if isinstance(spec.action_space, Continuous)
        else {"swim", "turn left", "turn right", "rest"}
    )
    if set(spec.action_names) != wanted:
        raise CapabilityError(
            f"this controller needs the actions {', '.join(sorted(wanted))}; "
            f"{spec.scenario} has {', '.join(spec.action_names)}."
        )
    return Moves(spec.action_space, spec.action_names)
