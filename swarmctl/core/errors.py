"""Exceptions of swarmctl: one class per kind of mistake, each message saying what to do."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable


class SwarmctlError(Exception):
    """Base of every error that swarmctl raises on purpose."""


class ConfigError(SwarmctlError, ValueError):
    """A configuration is inconsistent or out of range."""


class UnitError(ConfigError):
    """A quantity has no unit, an unknown unit or the wrong dimension."""


class UnknownNameError(SwarmctlError, LookupError):
    """A name is in no registry or is no key of a configuration."""


class DuplicateNameError(SwarmctlError, ValueError):
    """A name is registered twice."""


class CapabilityError(SwarmctlError, ValueError):
    """An engine cannot do what a scenario, an agent or a command asks for."""


class CommandError(SwarmctlError, ValueError):
    """An action or a command has the wrong shape, type or a value that is not finite."""


class PhysicsError(SwarmctlError, RuntimeError):
    """A simulation left the range in which its physics holds."""


class OverlapError(PhysicsError):
    """Colloids overlap beyond what the contact model can resolve."""


class WallCrossedError(PhysicsError):
    """A colloid or a bead went through a wall within one time step."""


class DivergenceError(PhysicsError):
    """A position or a director is not finite, or a colloid jumped."""


class NeighbourOverflowError(PhysicsError):
    """A neighbour list is full."""


class PlacementError(PhysicsError, ValueError):
    """Colloids do not fit where they are to be placed."""


class FrameError(SwarmctlError, ValueError):
    """An image has the wrong shape or type, or holds what is no number."""


class LinkingError(SwarmctlError, RuntimeError):
    """Colloids are too crowded for a linker to tell who is who."""


class PolicyFileError(SwarmctlError, ValueError):
    """A policy file is corrupt, foreign, or made for other spaces."""


class RunFolderError(SwarmctlError, OSError):
    """A run folder cannot be created, read or resumed."""


class RecordError(SwarmctlError, OSError):
    """A trajectory cannot be written, read or repaired."""


class LinkError(SwarmctlError, ConnectionError):
    """The peer of a lab link said what the protocol does not allow, or cannot be reached."""


class LinkTimeoutError(LinkError, TimeoutError):
    """The peer of a lab link was silent, or too slow, for longer than is allowed."""


class LinkClosedError(LinkError):
    """The peer of a lab link has gone."""


class DeviceError(SwarmctlError, RuntimeError):
    """A device is absent, refuses what it is told, or answers what it should not."""


class DeviceTimeoutError(DeviceError, TimeoutError):
    """A device did not answer in time."""


class CalibrationError(SwarmctlError, ValueError):
    """A calibration cannot be made or read, has expired, or belongs to another rig."""


class ArmingError(SwarmctlError, RuntimeError):
    """Outputs may not be armed or used; the message lists every reason."""


class SupervisorLostError(SwarmctlError, RuntimeError):
    """The process that owns the outputs has died or does not answer."""


class MissingExtraError(SwarmctlError, ImportError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"The package {package!r}, for {purpose}, is not installed. "
            f'Install it with: pip install "swarmctl[{extra}]"'
        )
        self.package = package
        self.extra = extra


class EngineMissingError(SwarmctlError, ImportError):
    """The program behind an engine is not installed."""


class WorkerDiedError(SwarmctlError, RuntimeError):
    """A worker process of a vector environment has died."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return a hint: the nearest allowed name, and the list of them all.

    >>> nearest("Chemotaxs", ["Chemotaxis", "Swirl"])
    "Did you mean 'Chemotaxis'? Allowed: Chemotaxis, Swirl."
    """
    names = sorted(allowed)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Allowed: {', '.join(names) if names else '(none)'}."


def require_positive(where: str, **values: float | None) -> None:
    """Raise ConfigError unless every value is positive and finite, or None."""
    for name, value in values.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{where}: {name} must be positive and finite, got {value}.")


def require_not_negative(where: str, **values: float) -> None:
    """Raise ConfigError unless every value is finite and at least 0."""
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"{where}: {name} must be finite and not negative, got {value}.")


def require_finite(where: str, **values: float | tuple[float, ...] | None) -> None:
    """Raise ConfigError unless every number is finite, or None."""
    for name, value in values.items():
        for number in value if isinstance(value, tuple) else () if value is None else (value,):
            if not math.isfinite(number):
                raise ConfigError(f"{where}: {name} must be finite, got {value}.")
