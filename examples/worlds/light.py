"""What world light.toml is told to do: light on the left half, dark on the right."""

import jax.numpy as jnp

from swarmctl.core.command import Command


def left_half(state, space):
    """Return the command for what is seen now: a power for every colloid."""
    lit = state.position[:, 0] < space.size[0] / 2
    return Command(power=jnp.where(lit, 1.0, 0.1))
