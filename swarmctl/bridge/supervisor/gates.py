"""One signature for both gates, and the narrower limits for probing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from swarmctl.bridge.devices.contract import OutputSpec
from swarmctl.bridge.orders import Spots, Values
from swarmctl.bridge.supervisor.limits import PatternLimits, ValueLimits
from swarmctl.bridge.supervisor.pattern_gate import (
    check_pattern_limits,
    check_spots,
    gate_spots,
    open_pattern_ledger,
    settle_spots,
)
from swarmctl.bridge.supervisor.value_gate import (
    check_value_limits,
    check_values,
    gate_values,
    open_value_ledger,
    settle_values,
)
from swarmctl.bridge.supervisor.windows import Window
from swarmctl.core.errors import CommandError

Payload = Spots | Values


@dataclass(frozen=True)
class Gate:
    """The gate of one output under some limits; ledgers are opaque.

    Attributes:
        check: asked → None. Raises CommandError for what is no order.
        open: now → a ledger of an output that has done nothing.
        send: asked, ledger, now → what may be sent, what was cut in words, the ledger with it.
            Raises CommandError for what is no order.
        settle: ledger, now → the ledger of an output that is safe from now on.
        doses: ledger → by name, its integrals that outlive the supervisor.
        resume: ledger, integrals of an earlier one → the ledger that goes on with them.
    """

    check: Callable[[Payload], None]
    open: Callable[[float], Any]
    send: Callable[[Payload, Any, float], tuple[Payload, str, Any]]
    settle: Callable[[Any, float], Any]
    doses: Callable[[Any], dict[str, Window]]
    resume: Callable[[Any, Mapping[str, Window]], Any]


def make_gate(
    limits: PatternLimits | ValueLimits, spec: OutputSpec, hold: float, where: str
) -> Gate:
    """Return the gate of an output; what is sent may stay for `hold` s.

    Raises ConfigError unless limits and device fit together.
    """
    if isinstance(limits, PatternLimits):
        check_pattern_limits(limits, spec, hold, where)
        return Gate(
            partial(_check, spec),
            lambda now: open_pattern_ledger(limits, spec, now),
            partial(_send_spots, limits, spec, hold),
            lambda ledger, now: settle_spots(ledger, limits, now),
            lambda ledger: {"area": ledger.area},
            lambda ledger, windows: replace(ledger, **windows),
        )
    check_value_limits(limits, spec.channels, hold, where)
    return Gate(
        partial(_check, spec),
        lambda now: open_value_ledger(limits, spec.channels, now),
        partial(_send_values, limits, spec, hold),
        settle_values,
        lambda ledger: {"away": ledger.away, "square": ledger.square},
        lambda ledger, windows: replace(ledger, **windows),
    )


def _check(spec: OutputSpec, asked: Payload) -> None:
    if (spec.kind == "pattern") != isinstance(asked, Spots):
        raise CommandError(f"{spec.name} does not take {type(asked).__name__}.")
    if isinstance(asked, Spots):
        check_spots(asked)
    else:
        check_values(asked, len(spec.channels))


def _send_spots(
    limits: PatternLimits, spec: OutputSpec, hold: float, asked: Payload, ledger: Any, now: float
) -> tuple[Payload, str, Any]:
    assert isinstance(asked, Spots)
    return gate_spots(asked, limits, spec, ledger, now, hold)


def _send_values(
    limits: ValueLimits, spec: OutputSpec, hold: float, asked: Payload, ledger: Any, now: float
) -> tuple[Payload, str, Any]:
    assert isinstance(asked, Values)
    return gate_values(asked, limits, spec.channels, ledger, now, hold)


def probing_limits(
    limits: PatternLimits | ValueLimits, spec: OutputSpec, scale: float
) -> PatternLimits | ValueLimits:
    """Return limits whose powers, or distances from the safe values, are `scale` times as large.

    Phases, in rad, have no strength: they keep their limits.
    """
    if isinstance(limits, PatternLimits):
        return replace(
            limits, power_max=scale * limits.power_max, power_total=scale * limits.power_total
        )
    safe = np.array([channel.safe for channel in spec.channels])
    share = np.array([1.0 if channel.unit == "rad" else scale for channel in spec.channels])
    low, high = (
        tuple((safe + share * (np.array(v) - safe)).tolist()) for v in (limits.low, limits.high)
    )
    return replace(limits, low=low, high=high, total=scale * limits.total)


def faded(payload: Payload, spec: OutputSpec, share: float) -> Payload:
    """Return what is between the safe values, at 0, and a payload, at a share of 1."""
    if isinstance(payload, Spots):
        return replace(payload, power=share * payload.power)
    safe = np.array([channel.safe for channel in spec.channels])
    return Values(safe + share * (payload.value - safe))


def is_safe(payload: Payload, spec: OutputSpec) -> bool:
    """Whether a payload is the safe state."""
    if isinstance(payload, Spots):
        return not np.any(payload.power)
    return bool(np.array_equal(payload.value, [channel.safe for channel in spec.channels]))
