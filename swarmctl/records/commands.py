"""Commands as the arrays of a record."""

from __future__ import annotations

import dataclasses

import numpy as np

from swarmctl.core.command import Command, FieldCommand

FIELD_CHANNELS = tuple(f"field.{f.name}" for f in dataclasses.fields(FieldCommand))
"""Names under which the numbers of a global field are recorded."""


def command_arrays(command: Command) -> dict[str, np.ndarray]:
    """Channels of a command that are in use, any batch shape; those of a field as `field.bias`, ...

    >>> command_arrays(Command(speed=np.ones(2)))
    {'speed': array([1., 1.])}
    """
    named = {name: getattr(command, name) for name in sorted(command.channels - {"field"})}
    if command.has_heading is not None:
        named["has_heading"] = command.has_heading
    if command.field is not None:
        for field in dataclasses.fields(FieldCommand):
            named[f"field.{field.name}"] = getattr(command.field, field.name)
    return {name: np.asarray(value) for name, value in named.items()}
