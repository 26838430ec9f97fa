"""Orders, receipts, reports and evidence as messages of the wire, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.devices.contract import Channel, OutputSpec
from swarmctl.bridge.gatekeeper import Evidence
from swarmctl.bridge.orders import Order, Receipt, Report, Spots, Standing, Values
from swarmctl.bridge.supervisor.wire import Message
from swarmctl.core.errors import LinkError

Arrays = dict[str, npt.NDArray[Any]]
Doings = Mapping[str, Spots | Values]


def order_message(order: Order) -> Message:
    """Return an order as a message."""
    return _doing_message("order", order, "outputs", order.outputs)


def read_order(message: Message) -> Order:
    """Return the order of a message. Raises LinkError; what the numbers are is not looked at."""
    order: Order = _read_doing(message, Order, "outputs")
    return order


def receipt_message(receipt: Receipt) -> Message:
    """Return a receipt as a message."""
    return _doing_message("receipt", receipt, "sent", receipt.sent)


def read_receipt(message: Message) -> Receipt:
    """Return the receipt of a message. Raises LinkError."""
    receipt: Receipt = _read_doing(message, Receipt, "sent")
    return receipt


def report_message(report: Report) -> Message:
    """Return a report as a message."""
    return Message("report", {**vars(report), "standing": int(report.standing)})


def read_report(message: Message) -> Report:
    """Return the report of a message. Raises LinkError."""
    try:
        fields = dict(message.fields)
        return Report(**{**fields, "standing": Standing(fields["standing"])})
    except (TypeError, ValueError, KeyError) as error:
        raise LinkError(f"a report cannot be read: {error}.") from None


def evidence_fields(evidence: Evidence | None) -> dict[str, Any] | None:
    """Return evidence as plain data."""
    return None if evidence is None else dict(vars(evidence))


def read_evidence(fields: Any) -> Evidence | None:
    """Return the evidence of plain data. Raises LinkError."""
    if fields is None:
        return None
    try:
        return Evidence(**fields)
    except TypeError as error:
        raise LinkError(f"evidence cannot be read: {error}.") from None


def specs_fields(specs: Mapping[str, OutputSpec]) -> dict[str, Any]:
    """Return specifications of outputs as plain data."""
    return {name: dataclasses.asdict(spec) for name, spec in specs.items()}


def read_specs(fields: Mapping[str, Any]) -> dict[str, OutputSpec]:
    """Return the specifications of plain data."""
    specs = {}
    for name, spec in fields.items():
        channels = tuple(Channel(**channel) for channel in spec["channels"])
        shape = None if spec["shape"] is None else (spec["shape"][0], spec["shape"][1])
        specs[name] = OutputSpec(**{**spec, "channels": channels, "shape": shape})
    return specs


def _doing_message(kind: str, thing: Order | Receipt, key: str, doings: Doings) -> Message:
    fields = {name: value for name, value in vars(thing).items() if name != key}
    arrays: Arrays = {}
    listed = []
    for index, (name, doing) in enumerate(doings.items()):
        about: dict[str, Any] = {"name": name}
        for part, value in vars(doing).items():
            if isinstance(value, str):
                about[part] = value
            elif value is not None:
                array = np.asarray(value)
                kind_of = np.int64 if part == "colloid" else np.float64
                arrays[f"{index}.{part}"] = array.astype(kind_of, casting="same_kind")
        listed.append(about)
    if "limited" in fields:
        fields["limited"] = dict(fields["limited"])
    return Message(kind, {**_plain(fields), key: listed}, arrays)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {n: v.item() if isinstance(v, np.generic) else v for n, v in fields.items()}


def _read_doing(message: Message, cls: type[Any], key: str) -> Any:
    try:
        fields = dict(message.fields)
        listed = fields.pop(key)
        allowed = {f.name: f for f in dataclasses.fields(cls)}
        for name, value in fields.items():
            if type(value) not in KINDS[str(allowed[name].type)]:
                raise ValueError(f"{name} is {value!r}")
        doings = {}
        for index, about in enumerate(listed):
            parts = {
                name.partition(".")[2]: array
                for name, array in message.arrays.items()
                if name.partition(".")[0] == str(index)
            }
            doings[str(about["name"])] = _doing(about, parts)
        return cls(**fields, **{key: doings})
    except (TypeError, ValueError, KeyError) as error:
        raise LinkError(
            f"a message {message.kind!r} cannot be read: {type(error).__name__}: {error}."
        ) from None


KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "Mapping[str, str]": (dict,),
}


def _doing(about: Mapping[str, Any], parts: Arrays) -> Spots | Values:
    if "value" in parts:
        return Values(**parts)
    return Spots(**parts, profile=about["profile"])
