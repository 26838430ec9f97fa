"""The keys of the engine "microscope", and its specification with nothing connected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp

from swarmctl.bridge.microscope.steering_config import DIRECT, FIELD_CHANNELS
from swarmctl.bridge.rig import Rig
from swarmctl.bridge.supervisor.limits import PatternLimits
from swarmctl.core.config import key
from swarmctl.core.errors import CapabilityError, ConfigError, require_positive
from swarmctl.core.spec import EngineSpec
from swarmctl.core.world import World

LIGHT_DEFAULT = ("speed", "turn_rate")


@dataclass(frozen=True)
class MicroscopeConfig:
    """Which rig, who answers for it, and how long one waits."""

    rig: Path = key(Path("rig.toml"), "the rig file")
    operator: str = key(
        "", "who arms the outputs at the first reset; if left out, they are armed from outside"
    )
    dry: bool = key(False, "outputs stay safe: orders are written to the audit log only")
    dry_steps: int = key(
        2, "steps that are dry at first, in which programs that the loop needs are compiled"
    )
    colloids_least: int = key(1, "colloids that have to be tracked before an episode begins")
    settle: float = key(0.3, "time for which colloids are watched before an episode begins", "s")
    start_timeout: float = key(10.0, "longest wait for colloids", "s")
    frame_timeout: float = key(1.0, "longest wait for a frame", "s")
    heartbeat: float = key(0.02, "longest time between heartbeats while waiting for a frame", "s")
    origin: tuple[float, float] | None = key(
        None,
        "point of the sample where the box begins; if left out, the box lies in the middle of the "
        "field of view",
        "um",
    )

    def __post_init__(self) -> None:
        require_positive(
            "microscope",
            start_timeout=self.start_timeout,
            frame_timeout=self.frame_timeout,
            heartbeat=self.heartbeat,
        )
        if self.heartbeat > 0.05:
            raise ConfigError(
                f"microscope: a heartbeat comes at least every 0.05 s, got {self.heartbeat:g} s."
            )
        if not self.settle >= 0 or self.dry_steps < 0 or self.colloids_least < 0:
            raise ConfigError("microscope: settle, dry_steps and colloids_least are at least 0.")


def rig_channels(rig: Rig) -> frozenset[str]:
    """Channels of commands that a rig takes. Raises UnknownNameError if its output is not there."""
    config = rig.steering
    light = rig.output(config.output).driver.role == "pattern"
    channels = frozenset(config.channels or (LIGHT_DEFAULT if light else FIELD_CHANNELS))
    if light == bool(channels & set(FIELD_CHANNELS)):
        raise ConfigError(
            f"rig {rig.name!r}: output {config.output!r} is {'light' if light else 'no light'} and "
            f"cannot take the channels {', '.join(sorted(channels))}."
        )
    return channels


def microscope_spec(world: World, rig: Rig, control_interval: float) -> EngineSpec:
    """Return the specification of engine "microscope".

    Species, slots and limits are those of the world; light is limited by the rig, too. The field of
    view is not periodic. Raises ConfigError or CapabilityError for a world that cannot be watched.
    """
    channels = rig_channels(rig)
    _check_world(world, rig, channels, control_interval)
    limits = rig.output(rig.steering.output).limits
    field = world.field
    species = world.species
    power = offset = tuple(0.0 for _ in species)
    if channels & DIRECT:
        assert isinstance(limits, PatternLimits)  # DIRECT are channels of patterns
        power = tuple(
            min(limits.power_max, s.actuator.power_max if s.actuator else limits.power_max)
            for s in species
        )
        far = rig.steering.offset_max
        offset = tuple(min(far, s.actuator.offset_max if s.actuator else far) for s in species)
    return EngineSpec(
        name="microscope",
        capacity=world.capacity,
        dimension=2,
        dtype=str(jax.dtypes.canonicalize_dtype(jnp.float64)),
        species=tuple(s.name for s in species),
        species_of_slot=world.species_of_slot,
        radius=tuple(s.radius for s in species),
        # Light cannot pull backwards.
        speed_min=tuple(max(s.speed_min, 0.0) for s in species),
        speed_max=tuple(s.speed_max for s in species),
        turn_rate_max=tuple(s.turn_rate_max for s in species),
        box=world.box.size,
        periodic=(False, False),
        control_interval=control_interval,
        capabilities=channels,
        field_max=None if field is None else (field.strength_max, 0.0, field.frequency_max),
        power_max=power,
        offset_max=offset,
        flows=world.flows,
    )


def _check_world(world: World, rig: Rig, channels: frozenset[str], control_interval: float) -> None:
    if world.dimension != 2:
        raise CapabilityError(
            "engine 'microscope': a camera sees positions in a plane, the world is "
            f"{world.dimension}D; give the box two lengths."
        )
    if world.bodies or world.chemicals:
        raise CapabilityError(
            "engine 'microscope': only colloids are tracked; this world has "
            f"{'rigid bodies' if world.bodies else 'substances'}, which nobody would measure."
        )
    if len(world.species) > 1:
        names = ", ".join(s.name for s in world.species)
        raise CapabilityError(
            f"engine 'microscope': images do not tell species apart, the world has {names}; take "
            "one species."
        )
    if "field" in channels and world.field is None:
        raise ConfigError(
            "engine 'microscope': the rig takes a global field, and the world does not say what it "
            "is at most; give it a [field]."
        )
    period = float(rig.camera.build().spec.period)
    if not control_interval > 0.99 * period:
        raise ConfigError(
            f"engine 'microscope': decisions every {control_interval:g} s need a frame each, and "
            f"the camera takes one every {period:g} s; take a longer control interval."
        )
