"""A simulation that stands for hardware, and differs from what is known of it."""

from __future__ import annotations

import dataclasses

from swarmctl.core.command import Command
from swarmctl.core.contracts import Engine, Transition
from swarmctl.core.state import SwarmState


class HiddenEngine(Engine):
    """An engine whose colloids respond `speed` and `turn` times as they are said to.

    Both may be changed while it runs. What it says was applied is what was asked, as hardware does,
    which knows what it has sent and not what came of it.
    """

    def __init__(self, engine: Engine, speed: float = 1.0, turn: float = 1.0) -> None:
        self.engine, self.speed, self.turn = engine, speed, turn
        self.spec = engine.spec

    def reset(self, seed: int) -> SwarmState:
        """Start an episode."""
        return self.engine.reset(seed)

    def step(self, command: Command) -> Transition:
        """Do something else than what is asked."""
        changed = dataclasses.replace(
            command,
            speed=None if command.speed is None else command.speed * self.speed,
            turn_rate=None if command.turn_rate is None else command.turn_rate * self.turn,
        )
        return dataclasses.replace(self.engine.step(changed), applied=command)

    def stop(self, reason: str) -> None:
        """Stop the engine."""
        self.engine.stop(reason)

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()
