"""What is known of an engine and of an environment before anything is connected.

Hashable, without JAX.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.fields import Flow


@dataclass(frozen=True)
class Discrete:
    """One of `n` actions per colloid."""

    n: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one colloid's action."""
        return ()


@dataclass(frozen=True)
class Continuous:
    """`size` numbers in [-1, 1] per colloid."""

    size: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one colloid's action."""
        return (self.size,)


ActionSpace = Discrete | Continuous


@dataclass(frozen=True)
class EngineSpec:
    """What an engine is, known with nothing connected.

    Attributes:
        name: registry name.
        capacity: number of colloid slots N.
        dimension: D, 2 or 3.
        dtype: of the arrays in SwarmState.
        species: species names.
        species_of_slot: index into `species` per slot.
        radius: µm per species.
        speed_min, speed_max: µm/s per species.
        turn_rate_max: rad/s per species.
        box: side lengths, µm.
        periodic: per axis.
        control_interval: s.
        capabilities: command channels that it takes.
        time_step: s; None where there is none (hardware).
        field_max: largest strength (mT), gradient (mT/µm) and frequency (Hz) of a global field.
        power_max: highest illumination per species, 0 for those that are not driven by light.
        offset_max: largest offset in µm of a spot from its colloid, per species.
        bodies: name of every rigid body.
        beads: number of beads of every rigid body.
        flows: flows of the fluid, as far as they are known; () for none or unknown ones.
    """

    name: str
    capacity: int
    dimension: int
    dtype: str
    species: tuple[str, ...]
    species_of_slot: tuple[int, ...]
    radius: tuple[float, ...]
    speed_min: tuple[float, ...]
    speed_max: tuple[float, ...]
    turn_rate_max: tuple[float, ...]
    box: tuple[float, ...]
    periodic: tuple[bool, ...]
    control_interval: float
    capabilities: frozenset[str]
    time_step: float | None = None
    field_max: tuple[float, float, float] | None = None
    power_max: tuple[float, ...] = ()
    offset_max: tuple[float, ...] = ()
    bodies: tuple[str, ...] = ()
    beads: tuple[int, ...] = ()
    flows: tuple[Flow, ...] = ()

    def check_species(self, index: int, reader: str) -> None:
        """Raise ConfigError, naming both sides, unless there is a species with this index."""
        if not 0 <= index < len(self.species):
            known = ", ".join(f"{i} {name!r}" for i, name in enumerate(self.species))
            raise ConfigError(
                f"{reader} reads species {index}, which is not there; engine {self.name!r} has "
                f"{known}."
            )

    def check_body(self, index: int, reader: str) -> None:
        """Raise ConfigError, naming both sides, unless there is a body with this index."""
        if not 0 <= index < len(self.bodies):
            known = ", ".join(f"{i} {name!r}" for i, name in enumerate(self.bodies)) or "no bodies"
            raise ConfigError(
                f"{reader} reads body {index}, which is not there; engine {self.name!r} has "
                f"{known}."
            )

    def per_slot(self, values: tuple[float, ...]) -> tuple[float, ...]:
        """Spread a per-species table over the slots."""
        return tuple(values[index] for index in self.species_of_slot)


@dataclass(frozen=True)
class Requirements:
    """What a scenario needs of an engine."""

    capacity: int
    dimension: int
    control_interval: float
    channels: frozenset[str]

    def check(self, spec: EngineSpec) -> None:
        """Raise CapabilityError or ConfigError naming both sides if the engine does not fit."""
        missing = self.channels - spec.capabilities
        if missing:
            raise CapabilityError(
                f"the scenario commands {', '.join(sorted(missing))}, which engine {spec.name!r} "
                "does not take; "
                f"it takes {', '.join(sorted(spec.capabilities))}."
            )
        for name in ("capacity", "dimension"):
            wanted, found = getattr(self, name), getattr(spec, name)
            if wanted != found:
                raise CapabilityError(
                    f"the scenario needs {name} {wanted}, engine {spec.name!r} has {found}."
                )
        if not math.isclose(self.control_interval, spec.control_interval, rel_tol=1e-6):
            raise ConfigError(
                f"the scenario decides every {self.control_interval:g} s, engine {spec.name!r} "
                "every "
                f"{spec.control_interval:g} s; set both to the same control interval."
            )


@dataclass(frozen=True)
class AgentSpec:
    """What an agent is told of where it will act.

    Attributes:
        scenario: scenario id.
        observation_size: F.
        observation_names: one name per number, for people.
        action_space: of one colloid.
        action_names: what the actions (or the numbers of a continuous action) are called.
        engine: capacity, dimension, limits, control interval.
    """

    scenario: str
    observation_size: int
    observation_names: tuple[str, ...]
    action_space: ActionSpace
    action_names: tuple[str, ...]
    engine: EngineSpec
