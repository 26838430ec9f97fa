"""How commands of a swarm become orders to the outputs of a rig."""

from __future__ import annotations

from dataclasses import dataclass

from swarmctl.core.config import key


@dataclass(frozen=True)
class SteeringConfig:
    """Which output does what."""

    output: str = key("light", "name of the output that drives colloids")
