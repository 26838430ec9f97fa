"""Devices that write what they are told to a file, with the time, and fail when a file says so.

A supervisor in another process uses them by `driver = ".../file_devices.py:FileValues"`. A fault of
the device NAME is a file NAME.hang, NAME.error, NAME.deaf (only `safe` fails), NAME.exit or
NAME.open.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from swarmctl.bridge.devices.contract import (
    Camera,
    CameraSpec,
    Channel,
    Interlock,
    OutputSpec,
    PatternOutput,
    ValueOutput,
)
from swarmctl.core.config import key
from swarmctl.core.errors import DeviceError

SAFE = [0.0, 0.5]


class Journal:
    def __init__(self, path):
        self.path = path

    def there(self, what):
        return self.path.with_suffix(f".{what}").exists()

    def tell(self, what, value, duration=0.0):
        began = time.monotonic()
        if self.there("hang"):
            while self.there("hang"):
                time.sleep(0.005)
        if self.there("error"):
            raise DeviceError(f"{self.path.stem} answers ERROR")
        if self.there("exit"):
            raise SystemExit
        if what == "safe" and self.there("deaf"):
            raise DeviceError(f"{self.path.stem} does not become safe")
        with self.path.open("a") as file:
            file.write(json.dumps([began, what, value]) + "\n")
        time.sleep(duration)


class ValueDevice(ValueOutput):
    def __init__(self, config):
        self.config = config
        self.journal = Journal(config.file)
        channels = (Channel("x", "A", -5.0, 5.0, SAFE[0]), Channel("y", "A", -2.0, 8.0, SAFE[1]))
        self.spec = OutputSpec("file", "coils", channels, own_timeout=config.own_timeout or None)
        self.value = np.array(SAFE)

    def connect(self, mock=False):
        self.journal.tell("connect", SAFE)

    def disconnect(self):
        self.journal.tell("disconnect", SAFE)

    def write(self, values):
        self.value = np.array(values)
        self.journal.tell("write", self.value.tolist(), self.config.duration)

    def read(self):
        return self.value

    def safe(self):
        self.journal.tell("safe", SAFE, self.config.duration)


class PatternDevice(PatternOutput):
    def __init__(self, config):
        self.journal = Journal(config.file)
        light = (Channel("light", "mW", 0.0, 1.0, 0.0),)
        self.spec = OutputSpec("file", "pattern", light, (64, 96), config.own_timeout or None)

    def connect(self, mock=False):
        self.journal.tell("connect", 0)

    def disconnect(self):
        self.journal.tell("disconnect", 0)

    def show(self, pattern):
        self.journal.tell("show", int(pattern.max()))

    def safe(self):
        self.journal.tell("safe", 0)


class InterlockDevice(Interlock):
    name = "file"

    def __init__(self, config):
        self.journal = Journal(config.file)

    def connect(self, mock=False):
        pass

    def disconnect(self):
        pass

    def closed(self):
        if self.journal.there("error"):
            raise DeviceError("the interlock answers ERROR")
        while self.journal.there("hang"):
            time.sleep(0.005)
        return not self.journal.there("open")


class SpecCamera(Camera):
    """Only its specification is of use."""

    def __init__(self, config):
        self.spec = CameraSpec("file", 64, 96, 8, config.exposure, config.period)

    def connect(self, mock=False):
        raise DeviceError("no frames here")

    disconnect = start = stop = connect

    def newest(self, timeout):
        raise DeviceError("no frames here")


@dataclass(frozen=True)
class FileValues:
    role: ClassVar[str] = "values"
    file: Path = key(Path("values.log"), "where it writes")
    own_timeout: float = key(0.5, "0 for none", "s")
    duration: float = key(0.0, "time that a call takes", "s")

    def build(self):
        return ValueDevice(self)


@dataclass(frozen=True)
class FileLight:
    role: ClassVar[str] = "pattern"
    file: Path = key(Path("light.log"), "where it writes")
    own_timeout: float = key(0.5, "0 for none", "s")

    def build(self):
        return PatternDevice(self)


@dataclass(frozen=True)
class FileInterlock:
    role: ClassVar[str] = "interlock"
    file: Path = key(Path("interlock.log"), "whose faults it has")

    def build(self):
        return InterlockDevice(self)


@dataclass(frozen=True)
class FileCamera:
    role: ClassVar[str] = "camera"
    period: float = key(0.05, "time between frames", "s")
    exposure: float = key(0.01, "time of an exposure", "s")

    def build(self):
        return SpecCamera(self)
