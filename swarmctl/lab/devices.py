"""The verb `lab devices`: which drivers there are, what each can do, and what is plugged in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from swarmctl.bridge.devices.contract import CameraSpec, OutputSpec
from swarmctl.bridge.devices.listing import Listing, list_devices
from swarmctl.bridge.rig import read_rig
from swarmctl.lab.configs import DevicesConfig


def devices(config: DevicesConfig, say: Callable[[str], None] = print) -> Listing:
    """List drivers and devices; with a rig file, what its devices are. Nothing is connected.

    Raises ConfigError or UnknownNameError for a rig file that cannot be read, DeviceError for a
    configuration of Micro-Manager that cannot.
    """
    lines = [] if config.rig is None else list(_of_rig(config.rig))
    found = list_devices(config.cfg)
    say("\n".join([found.text(), *lines]))
    return found


def _of_rig(path: Path) -> Iterator[str]:
    """Lines about the devices of a rig."""
    rig = read_rig(path)
    yield ""
    yield f"Rig {rig.name!r}"
    yield f"  camera: {_camera(rig.camera.build().spec)}"
    for entry in rig.outputs:
        yield f"  output {entry.name!r}: {_output(entry.driver.build().spec)}"
    if rig.interlock is None:
        yield f"  interlock: none; {rig.unguarded}"
    else:
        yield f"  interlock: {rig.interlock.build().name}"


def _camera(spec: CameraSpec) -> str:
    return (
        f"{spec.name}, {spec.width} x {spec.height} px, {spec.bits} bits, exposure "
        f"{1e3 * spec.exposure:g} ms, a frame every {1e3 * spec.period:g} ms"
    )


def _output(spec: OutputSpec) -> str:
    channels = ", ".join(
        f"{c.name} {c.low:g} to {c.high:g} {c.unit}".rstrip() + f" (safe: {c.safe:g})"
        for c in spec.channels
    )
    size = "" if spec.shape is None else f" of {spec.shape[1]} x {spec.shape[0]} px"
    alone = "no time-out of its own"
    if spec.own_timeout is not None:
        alone = f"safe by itself after {spec.own_timeout:g} s"
    return f"{spec.name}, {spec.kind}{size}, {channels}; {alone}"
