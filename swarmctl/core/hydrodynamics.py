"""Far-field hydrodynamics: colloids move one another through the fluid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_positive


@dataclass(frozen=True)
class Hydrodynamics:
    """How far the fluid is resolved; see decision 0006 for the range of validity.

    `flow`: the flows of forces and of swimmers' force dipoles carry and turn the others, without
    correlated noise. `mobility`: spheres move by the mobility of Rotne, Prager and Yamakawa, with
    correlated noise and thermal drift, up to 64 of them; dipoles carry and turn as well.
    """

    mode: Literal["flow", "mobility"] = key("flow", "flow, or mobility with correlated noise")
    wall: bool = key(False, "a no-slip wall at z = 0, below a 2D world")
    height: float | None = key(None, "height of a 2D world over the wall", "um")

    def __post_init__(self) -> None:
        require_positive("hydrodynamics", height=self.height)

    def check(self, dimension: int) -> None:
        """Raise ConfigError unless a 2D world over a wall says how high it lies."""
        if self.height is not None and (dimension == 3 or not self.wall):
            raise ConfigError(
                "hydrodynamics: height is that of a 2D world over a wall; leave it out here."
            )
        if self.wall and dimension == 2 and self.height is None:
            raise ConfigError(
                "hydrodynamics: say at which height over the wall the 2D world lies, "
                'such as height = "3 um".'
            )
