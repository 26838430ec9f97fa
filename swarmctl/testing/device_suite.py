"""The contract of devices: cameras, outputs and interlocks, on their mocks or on hardware."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from swarmctl.bridge.devices.contract import (
    Camera,
    CameraSpec,
    Channel,
    Device,
    Interlock,
    OutputSpec,
    PatternOutput,
    ValueOutput,
)
from swarmctl.core.errors import DeviceError, DeviceTimeoutError
from swarmctl.testing.report import NotApplicableError, Report, Suite, describe_error

CONFIRMED = 2e-3
"""How far from its safe value a channel may be read, as a share of its range."""


@dataclass(frozen=True)
class DeviceCase:
    """A device that is not connected, and how it is to be connected."""

    device: Device
    mock: bool

    @contextlib.contextmanager
    def connected(self) -> Iterator[Any]:
        """Connect for a block, whatever happens in it."""
        self.device.connect(mock=self.mock)
        try:
            yield self.device
        finally:
            self.device.disconnect()


suite: Suite[DeviceCase] = Suite("device")


def check_device(device: Device, mock: bool = True) -> Report:
    """Check a device that is not connected against the contract of devices.

    With `mock=False` the hardware itself is driven: over the whole range of its channels, and with
    full light. Do that only with an instrument for which it is safe.
    """
    return suite.run(_name(device), DeviceCase(device, mock))


def _name(device: Any) -> str:
    spec = getattr(device, "spec", None)
    return str(getattr(spec, "name", None) or getattr(device, "name", type(device).__name__))


def _refusal(what: str, call: Callable[[], Any]) -> Iterator[str]:
    """Yield a text unless the call raises DeviceError."""
    try:
        call()
    except DeviceError:
        return
    except Exception as error:  # anything else is the wrong answer
        yield f"{what}: raised {describe_error(error)}, not DeviceError"
    else:
        yield f"{what}: accepted"


def _calls(device: Device) -> dict[str, Callable[[], Any]]:
    """Everything that needs a connection, done rightly otherwise."""
    if isinstance(device, Camera):
        return {"start": device.start, "newest": lambda: device.newest(0.0)}
    if isinstance(device, ValueOutput):
        values = _values(device.spec, "safe")
        return {"write": lambda: device.write(values), "read": device.read, "safe": device.safe}
    if isinstance(device, PatternOutput):
        dark = np.zeros(device.spec.shape or (1, 1), np.uint8)
        return {"show": lambda: device.show(dark), "safe": device.safe}
    if isinstance(device, Interlock):
        return {"closed": device.closed}
    return {}


def _values(spec: OutputSpec, which: str) -> Any:
    return np.array([getattr(channel, which) for channel in spec.channels], float)


@suite.rule(
    "kind",
    "a device is a Camera, a ValueOutput, a PatternOutput or an Interlock",
    "inherit from one of the contract's classes",
)
def kind(case: DeviceCase) -> Iterator[str]:
    """Look at the class."""
    if not isinstance(case.device, Camera | ValueOutput | PatternOutput | Interlock):
        yield f"it is a {type(case.device).__name__}"


@suite.rule(
    "spec",
    "the spec can be read with nothing connected, is frozen and hashable, and makes sense",
    "make the spec from the configuration alone",
    needs=["kind"],
)
def spec(case: DeviceCase) -> Iterator[str]:
    """Read the spec, and look at its numbers."""
    device = case.device
    if isinstance(device, Interlock):
        if not (isinstance(device.name, str) and device.name):
            yield "an interlock needs a name"
        return
    found: Any = device.spec  # type: ignore[attr-defined]
    hash(found)
    yield from (
        _camera_faults(found) if isinstance(device, Camera) else _output_faults(device, found)
    )
    with contextlib.suppress(dataclasses.FrozenInstanceError):
        found.name = found.name
        yield "the spec is not frozen"


def _camera_faults(spec: CameraSpec) -> Iterator[str]:
    if min(spec.height, spec.width) < 1 or not 1 <= spec.bits <= 16:
        yield f"frames of {spec.height} x {spec.width} px and {spec.bits} bits"
    if not (0 < spec.exposure <= spec.period < math.inf):
        yield f"an exposure of {spec.exposure} s and a period of {spec.period} s"


def _output_faults(device: Device, spec: OutputSpec) -> Iterator[str]:
    if not spec.channels:
        yield "no channels"
    names = [channel.name for channel in spec.channels]
    if len(set(names)) != len(names):
        yield f"channels share a name: {names}"
    for channel in spec.channels:
        yield from _channel_faults(channel)
    if isinstance(device, PatternOutput):
        if spec.shape is None or min(spec.shape) < 1:
            yield f"a pattern of shape {spec.shape}"
        if len(spec.channels) != 1:
            yield f"a pattern has one channel, this has {len(spec.channels)}"
    elif spec.shape is not None:
        yield "values have no shape"
    if spec.own_timeout is not None and not 0 < spec.own_timeout < math.inf:
        yield f"own_timeout = {spec.own_timeout} s"
    if not 0 <= spec.latency < math.inf:
        yield f"latency = {spec.latency} s"


def _channel_faults(channel: Channel) -> Iterator[str]:
    if not (math.isfinite(channel.low) and math.isfinite(channel.high)):
        yield f"{channel.name}: a range of {channel.low} to {channel.high}"
    elif not channel.low <= channel.safe <= channel.high:
        yield f"{channel.name}: safe = {channel.safe} is out of {channel.low} to {channel.high}"


@suite.rule(
    "unconnected",
    "without a connection every call raises DeviceError, and disconnect does nothing",
    "ask for the connection first in every call",
    needs=["spec"],
)
def unconnected(case: DeviceCase) -> Iterator[str]:
    """Call everything before connecting."""
    case.device.disconnect()
    for name, call in _calls(case.device).items():
        yield from _refusal(f"{name} before connect", call)


@suite.rule(
    "connect",
    "it connects, disconnects twice, and connects again",
    "let disconnect do nothing where there is nothing to do",
    needs=["spec"],
)
def connect(case: DeviceCase) -> Iterator[str]:
    """Connect and disconnect."""
    for _ in range(2):
        case.device.connect(mock=case.mock)
        case.device.disconnect()
        case.device.disconnect()
    for name, call in _calls(case.device).items():
        yield from _refusal(f"{name} after disconnect", call)


@suite.rule(
    "same-spec",
    "connecting does not change the spec",
    "compare the hardware with the spec, and refuse it where they differ",
    needs=["connect"],
)
def same_spec(case: DeviceCase) -> Iterator[str]:
    """Compare specs before and after."""
    before = getattr(case.device, "spec", None)
    with case.connected() as device:
        if getattr(device, "spec", None) != before:
            yield "the spec is another one once it is connected"


@suite.rule(
    "safe-values",
    "values are safe once connected, and safe again after `safe`, which waits for it",
    "write the safe values in connect and in safe, and read them back",
    needs=["connect"],
)
def safe_values(case: DeviceCase) -> Iterator[str]:
    """Read after connecting; go away from the safe values and back."""
    if not isinstance(case.device, ValueOutput):
        raise NotApplicableError("it takes no values")
    spec = case.device.spec
    safe, low, high = (_values(spec, which) for which in ("safe", "low", "high"))
    near = CONFIRMED * (high - low)
    with case.connected() as device:
        if np.any(np.abs(device.read() - safe) > near):
            yield f"after connect it reads {device.read()}, safe is {safe}"
        device.write(np.where(safe == high, low, high))
        device.safe()
        if np.any(np.abs(device.read() - safe) > near):
            yield f"after safe it reads {device.read()}, safe is {safe}"


@suite.rule(
    "read-back",
    "what was written is read, at both ends of the range",
    "return from write once the device has the values, and ask the device in read",
    needs=["safe-values"],
)
def read_back(case: DeviceCase) -> Iterator[str]:
    """Write the ends of every range, in the order of the channels."""
    if not isinstance(case.device, ValueOutput):
        raise NotApplicableError("it takes no values")
    spec = case.device.spec
    low, high = _values(spec, "low"), _values(spec, "high")
    ends = (low, high, np.where(np.arange(len(low)) % 2, low, high))
    with case.connected() as device:
        for values in ends:
            device.write(values)
            found = device.read()
            if found.shape != values.shape or np.any(
                np.abs(found - values) > CONFIRMED * (high - low)
            ):
                yield f"wrote {values}, read {found}"


@suite.rule(
    "bad-values",
    "values that are not finite, out of range or of another shape raise DeviceError, and nothing "
    "is written",
    "check before anything is sent; never clip",
    needs=["safe-values"],
)
def bad_values(case: DeviceCase) -> Iterator[str]:
    """Write bad values to every channel."""
    if not isinstance(case.device, ValueOutput):
        raise NotApplicableError("it takes no values")
    spec = case.device.spec
    safe = _values(spec, "safe")
    with case.connected() as device:
        before = device.read()
        for index, channel in enumerate(spec.channels):
            span = channel.high - channel.low
            for bad in (math.nan, math.inf, -math.inf, channel.low - span, channel.high + span):
                values = safe.copy()
                values[index] = bad
                yield from _refusal(
                    f"{channel.name} = {bad}", functools.partial(device.write, values)
                )
        yield from _refusal("one value too many", lambda: device.write(np.append(safe, safe[0])))
        yield from _refusal("no values", lambda: device.write(np.zeros(0)))
        yield from _refusal("texts", lambda: device.write(["x"] * len(safe)))
        if np.any(np.abs(device.read() - before) > 0):
            yield "a refused write has changed the values"


@suite.rule(
    "patterns",
    "patterns of the spec's shape and uint8 are shown; others raise DeviceError",
    "check shape and dtype in show",
    needs=["connect"],
)
def patterns(case: DeviceCase) -> Iterator[str]:
    """Show full light, bad patterns, and darkness."""
    if not isinstance(case.device, PatternOutput):
        raise NotApplicableError("it shows no patterns")
    height, width = case.device.spec.shape or (1, 1)
    bad: dict[str, Any] = {
        "floats": np.zeros((height, width)),
        "a row too many": np.zeros((height + 1, width), np.uint8),
        "colours": np.zeros((height, width, 3), np.uint8),
        "no array": [[0] * width] * height,
    }
    with case.connected() as device:
        device.show(np.full((height, width), 255, np.uint8))
        for what, pattern in bad.items():
            yield from _refusal(what, functools.partial(device.show, pattern))
        device.safe()


@suite.rule(
    "frames",
    "frames have the spec's shape and dtype; numbers rise; the exposure lies before the arrival",
    "compare every frame with the spec, and take times from time.monotonic()",
    needs=["connect"],
)
def frames(case: DeviceCase) -> Iterator[str]:
    """Take frames, stop, start again, take more."""
    if not isinstance(case.device, Camera):
        raise NotApplicableError("it takes no frames")
    spec = case.device.spec
    wanted = np.dtype(np.uint8 if spec.bits <= 8 else np.uint16)
    shots = []
    with case.connected() as device:
        for _ in range(2):
            device.start()
            shots += [device.newest(5 + 10 * spec.period) for _ in range(3)]
            device.stop()
    for shot in shots:
        if shot.frame.shape != (spec.height, spec.width) or shot.frame.dtype != wanted:
            yield f"a frame {shot.frame.dtype} {shot.frame.shape}"
        if not shot.exposed < shot.received <= time.monotonic():
            yield f"exposed at {shot.exposed}, received at {shot.received}"
    for first, second in itertools.pairwise(shots):
        if second.number <= first.number:
            yield f"number {second.number} came after {first.number}"
        if second.exposed <= first.exposed:
            yield "a later frame was exposed earlier"
        if np.shares_memory(first.frame, second.frame):
            yield "two frames share their memory"


@suite.rule(
    "newest-times-out",
    "newest raises DeviceTimeoutError when no frame comes in time, and DeviceError when stopped",
    "wait by the clock, whatever the camera says of itself",
    needs=["frames"],
)
def newest_times_out(case: DeviceCase) -> Iterator[str]:
    """Ask twice with no time between; ask after stop."""
    if not isinstance(case.device, Camera):
        raise NotApplicableError("it takes no frames")
    spec = case.device.spec
    with case.connected() as device:
        yield from _refusal("newest before start", lambda: device.newest(0.0))
        device.start()
        late = False
        for _ in range(20):  # on a busy machine the next frame may be there already
            device.newest(5 + 10 * spec.period)
            try:
                device.newest(0.0)
            except DeviceTimeoutError:
                late = True
                break
        if not late:
            yield "newest(0) always returned a frame at once"
        device.stop()
        device.stop()
        yield from _refusal("newest after stop", lambda: device.newest(0.0))


@suite.rule(
    "interlock",
    "closed returns a bool",
    "return whether the circuit is closed",
    needs=["connect"],
)
def interlock(case: DeviceCase) -> Iterator[str]:
    """Ask."""
    if not isinstance(case.device, Interlock):
        raise NotApplicableError("it is no interlock")
    with case.connected() as device:
        if not isinstance(device.closed(), bool):
            yield f"closed() returned {device.closed()!r}"
