"""The verb `lab devices`: which drivers there are, what each can do, and what is plugged in."""

from __future__ import annotations

from collections.abc import Callable

from swarmctl.bridge.devices.listing import Listing, list_devices
from swarmctl.bridge.rig import read_rig
from swarmctl.lab.configs import DevicesConfig


def devices(config: DevicesConfig, say: Callable[[str], None] = print) -> Listing:
    """List drivers and devices; with a rig file, what its devices are. Nothing is connected.

    Raises ConfigError or UnknownNameError for a rig file that cannot be read.
    """
    found = list_devices(config.cfg)
    say(found.text())
    if config.rig is not None:
        rig = read_rig(config.rig)
        say(f"\nrig {rig.name!r}")
        say(f"  camera: {rig.camera.build().spec}")
        for entry in rig.outputs:
            say(f"  output {entry.name!r}: {entry.driver.build().spec}")
    return found
