"""What is known of an engine, as plain data in the metadata of a trajectory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from swarmctl.core.errors import RecordError
from swarmctl.core.spec import EngineSpec

KEY = "engine"
"""Where it stands in the metadata."""


def engine_table(spec: EngineSpec) -> dict[str, Any]:
    """Plain data for JSON, without the flows, which are functions of place."""
    table = {f.name: getattr(spec, f.name) for f in dataclasses.fields(spec) if f.name != "flows"}
    return {**table, "capabilities": sorted(spec.capabilities)}


def engine_of_table(table: Mapping[str, Any]) -> EngineSpec:
    """What `engine_table` gave, also after JSON. Raises RecordError for anything else."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in table.items()
    }
    try:
        values["capabilities"] = frozenset(values["capabilities"])
        return EngineSpec(**values)
    except (KeyError, TypeError) as error:
        raise RecordError(
            f"the record does not say what its engine was ({error}); it was written by another "
            "version of swarmctl."
        ) from None
