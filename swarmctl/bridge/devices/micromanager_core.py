"""One Micro-Manager core per cfg file and process, which all its devices share.

The core is pymmcore-plus's `UniMMCore`, so that a cfg file may also load devices that are written
in Python, in lines that begin with `#py`. That class is marked experimental there; nothing outside
the modules `micromanager_*` sees it.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from swarmctl.bridge.devices.failures import device_errors
from swarmctl.bridge.devices.sharing import Shared
from swarmctl.core.errors import DeviceError, DeviceTimeoutError, nearest
from swarmctl.core.extras import import_extra

POLL = 0.0005
"""s between two questions whether a device is busy or a frame is there."""


class SharedCore:
    """A core with the devices of a cfg file.

    Attributes:
        core: `UniMMCore` of pymmcore-plus.
        cfg: the file.
        streaming: label of the camera that takes frames; a core streams one at a time.
    """

    def __init__(self, cfg: Path) -> None:
        if not cfg.is_file():
            raise DeviceError(f"there is no Micro-Manager configuration {str(cfg)!r}.")
        check_adapters(cfg)
        self.cfg, self.streaming = cfg, ""
        self.core: Any = import_extra("lab", "pymmcore_plus.experimental.unicore").UniMMCore()
        _close_at_exit()
        try:
            with device_errors(str(cfg), "loading its devices"):
                self.core.loadSystemConfiguration(str(cfg))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop frames and unload all devices.

        Without that, and with the core's callback registered, the interpreter aborts at its end.
        """
        with suppress(Exception):  # a camera that has gone cannot be stopped
            self.core.stopSequenceAcquisition()
        try:
            self.core.unloadAllDevices()
        finally:
            import_extra("lab", "pymmcore").CMMCore.registerCallback(self.core, None)

    def require(self, label: str) -> None:
        """Raise DeviceError unless the cfg file has a device of this label."""
        labels = self.core.getLoadedDevices()
        if label not in labels:
            raise DeviceError(f"{self.cfg} has no device {label!r}. {nearest(label, labels)}")

    def require_property(self, label: str, name: str) -> None:
        """Raise DeviceError unless the device has a property of this name."""
        self.require(label)
        names = self.core.getDevicePropertyNames(label)
        if name not in names:
            raise DeviceError(f"{label} has no property {name!r}. {nearest(name, names)}")

    def settle(self, label: str, timeout: float) -> None:
        """Wait until a device is no longer busy. Raises DeviceTimeoutError after `timeout` s."""
        end = time.monotonic() + timeout
        while self.core.deviceBusy(label):
            if time.monotonic() > end:
                raise DeviceTimeoutError(f"{label} is still busy after {timeout:g} s.")
            time.sleep(POLL)


_cores: Shared[Path, SharedCore] = Shared(SharedCore, SharedCore.close)


def take_core(cfg: Path) -> SharedCore:
    """Return the core of a cfg file, which is loaded for the first that asks.

    Raises DeviceError, MissingExtraError.
    """
    return _cores.take(cfg.expanduser().resolve())


def leave_core(cfg: Path) -> None:
    """Give a core back; the last one to do so unloads its devices."""
    _cores.leave(cfg.expanduser().resolve())


@functools.cache
def _close_at_exit() -> None:
    atexit.register(_cores.close_all)


def check_adapters(cfg: Path) -> None:
    """Raise DeviceError if adapters that a cfg file needs cannot be loaded by the core.

    Core and adapters must have the same version of the device interface, the fourth field of
    pymmcore's version; otherwise Micro-Manager only says that it failed to load an adapter.
    """
    text = cfg.read_text(encoding="utf-8", errors="replace")
    if not any(line.startswith("Device,") for line in text.splitlines()):
        return
    wanted = core_interface()
    folder = import_extra("lab").find_micromanager()
    if folder is None:
        raise DeviceError(
            f"{cfg}: no device adapters of Micro-Manager with device interface {wanted} are here. "
            "Install them with 'mmcore install', or set MICROMANAGER_PATH to their folder."
        )
    found = adapters_interface(Path(folder))
    if found is not None and found != wanted:
        raise DeviceError(
            f"{cfg}: the device adapters in {folder} have device interface {found}, pymmcore "
            f"{import_extra('lab', 'pymmcore').__version__} has {wanted}. Install the pymmcore "
            f"whose fourth version number is {found}, or adapters of interface {wanted}."
        )


def core_interface() -> int:
    """Return the version of pymmcore's device interface. Raises MissingExtraError."""
    return int(import_extra("lab", "pymmcore").__version__.split(".")[3])


def adapters_interface(folder: Path) -> int | None:
    """Return the device interface of the adapters in a folder; None if none can be asked."""
    load: Callable[[str], Any] = ctypes.CDLL
    if sys.platform == "win32":
        load = ctypes.WinDLL
    for path in sorted(folder.glob("*mmgr_dal_*")):
        with suppress(OSError, AttributeError):
            ask = load(str(path)).GetDeviceInterfaceVersion
            ask.restype, ask.argtypes = ctypes.c_long, []
            return int(ask())
    return None
