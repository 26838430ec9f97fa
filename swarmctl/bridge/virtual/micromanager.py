"""The virtual laboratory's camera and light as devices of Micro-Manager.

pymmcore-plus's `UniMMCore` loads them by lines of a cfg file that other programs take for comments:

    #py pyDevice,Camera,swarmctl.bridge.virtual.micromanager,VirtualLabCamera
    #py Property,Camera,Address,/path/to/address.json
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.devices.micromanager_camera import EXPOSED_TAG, FRAME_TAG
from swarmctl.bridge.virtual.camera import LaboratoryFrames, VirtualCameraConfig
from swarmctl.bridge.virtual.connection import Connection
from swarmctl.bridge.virtual.light import LaboratoryLight, VirtualLightConfig
from swarmctl.bridge.virtual.shared_memory import pixel_type
from swarmctl.core.errors import DeviceError
from swarmctl.core.extras import import_extra

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import CameraDevice, SLMDevice
else:
    _unicore = import_extra("lab", "pymmcore_plus.experimental.unicore")
    CameraDevice, SLMDevice = _unicore.CameraDevice, _unicore.SLMDevice

_LOOK = 0.1  # s: how soon a sequence notices that its device was shut down


def _about(address: str, part: str) -> dict[str, Any]:
    """What a laboratory says of its camera or light. Raises DeviceError."""
    lab = Connection(Path(address), "catalogue")
    try:
        if lab.lockstep:
            raise DeviceError(
                "Micro-Manager keeps its own time; start the laboratory in real time."
            )
        return dict(lab.about[part])
    finally:
        lab.close()


@final
class VirtualLabCamera(CameraDevice):
    """The camera of a virtual laboratory. Exposure and size are the laboratory's."""

    def __init__(self) -> None:
        super().__init__()
        self.register_property("Address", default_value="", is_pre_init=True, property_type=str)
        self._config = VirtualCameraConfig()
        self._port: LaboratoryFrames | None = None
        self._sequence: object = None

    def initialize(self) -> None:
        """Connect to the laboratory that the property Address names."""
        address = str(self.get_property_value("Address"))
        self._config = VirtualCameraConfig(Path(address), **_about(address, "camera"))
        port = LaboratoryFrames(self._config)
        port.open()
        self._port = port

    def shutdown(self) -> None:
        """Hang up; a sequence that runs ends."""
        port, self._port, self._sequence = self._port, None, None
        if port is not None:
            port.close()

    def get_exposure(self) -> float:
        """Exposure, ms."""
        return 1000 * self._config.exposure

    def set_exposure(self, exposure: float) -> None:
        """Accept the laboratory's exposure, ms. Raises ValueError for another."""
        if abs(exposure - self.get_exposure()) > 1e-3:
            raise ValueError(
                f"the virtual laboratory exposes for {self.get_exposure():g} ms; set that in its "
                "sample's [timing]."
            )

    def shape(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        return self._config.height, self._config.width

    def dtype(self) -> npt.DTypeLike:
        """Type of a pixel."""
        return pixel_type(self._config.bits)

    def start_sequence(
        self, n: int | None, get_buffer: Callable[[Sequence[int], npt.DTypeLike], np.ndarray]
    ) -> Iterator[Mapping[str, str]]:
        """Take frames as they come, leaving out those for which the program was too late."""
        port = self._port
        if port is None:
            raise DeviceError("the virtual camera is not initialised.")
        # The core gives up on a thread that waits for a frozen camera: it ends with the next one.
        self._sequence = sequence = object()
        port.start()
        try:
            count = 0
            while self._sequence is sequence and (n is None or count < n):
                shot = port.newest(_LOOK)
                if shot is None:
                    continue
                get_buffer(self.shape(), self.dtype())[...] = shot.frame
                count += 1
                yield {EXPOSED_TAG: repr(shot.exposed), FRAME_TAG: str(shot.number)}
        finally:
            if self._sequence is sequence:
                port.stop()


@final
class VirtualLabLight(SLMDevice):
    """The light pattern of a virtual laboratory. Its exposure is its own timeout, 0 for never."""

    def __init__(self) -> None:
        super().__init__()
        self.register_property("Address", default_value="", is_pre_init=True, property_type=str)
        self._config = VirtualLightConfig()
        self._port: LaboratoryLight | None = None
        self._image = np.zeros((0, 0), np.uint8)
        self._exposure = 0.0

    def initialize(self) -> None:
        """Connect to the laboratory that the property Address names."""
        address = str(self.get_property_value("Address"))
        self._config = VirtualLightConfig(Path(address), **_about(address, "light"))
        port = LaboratoryLight(self._config)
        port.open()
        self._port = port
        self._image = np.zeros(self.shape(), np.uint8)

    def shutdown(self) -> None:
        """Hang up. What is shown stays, as on a modulator whose program has gone."""
        port, self._port = self._port, None
        if port is not None:
            port.close()

    def shape(self) -> tuple[int, int]:
        """Rows and columns of a pattern."""
        return self._config.height, self._config.width

    def dtype(self) -> npt.DTypeLike:
        """Type of a pixel."""
        return np.uint8

    def set_image(self, pixels: np.ndarray) -> None:
        """Keep a pattern until it is displayed."""
        self._image = np.array(pixels, np.uint8)

    def get_image(self) -> np.ndarray:
        """Return the last pattern."""
        return self._image.copy()

    def display_image(self) -> None:
        """Show the pattern; return once it lights the sample."""
        self._opened.show(self._image)

    def set_exposure(self, interval_ms: float) -> None:
        """Turn dark by itself when no pattern has come for so long."""
        self._opened.set_timeout(interval_ms / 1000 if interval_ms > 0 else None)
        self._exposure = max(interval_ms, 0.0)

    def get_exposure(self) -> float:
        """Time after which it turns dark by itself, ms; 0 for never."""
        return self._exposure

    @property
    def _opened(self) -> LaboratoryLight:
        if self._port is None:
            raise DeviceError("the virtual light is not initialised.")
        return self._port
