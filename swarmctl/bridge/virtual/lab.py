"""Start a virtual laboratory, and end it cleanly. No JAX in this process."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, final

from swarmctl.bridge.virtual.connection import Connection
from swarmctl.bridge.virtual.rig_files import ADDRESS, MICROMANAGER_RIG, RIG, write_rig_files
from swarmctl.bridge.virtual.sample_config import SampleConfig, write_sample
from swarmctl.core.errors import DeviceError
from swarmctl.core.machine_code import cache_folder

START = 180.0
"""s in which a laboratory has to be ready; most of it is compiling."""
END = 10.0
"""s in which it has to end when it is asked to."""


@final
class VirtualLab:
    """A laboratory that runs in a process of its own.

    Attributes:
        folder: holds its files.
        config: what it is; hidden from agents.
        rig: rig file with the drivers `virtual-camera`, `virtual-light` and `virtual-interlock`.
        micromanager_rig: rig file of the same as devices of Micro-Manager.
        address: file by which devices find it.
        truth: trajectory of what really happened; complete when the laboratory has ended.
    """

    def __init__(self, folder: Path, config: SampleConfig, pacing: str) -> None:
        """Write its files and start it. Raises ConfigError, DeviceError."""
        self.folder, self.config = folder, config
        self.rig, self.micromanager_rig = folder / RIG, folder / MICROMANAGER_RIG
        self.address, self.truth = folder / ADDRESS, folder / "truth.h5md"
        self._control: Connection | None = None
        write_rig_files(folder, config)
        write_sample(folder / "sample.toml", config)
        command = [sys.executable, "-m", "swarmctl.bridge.virtual.sample_process"]
        with (folder / "sample.log").open("w") as log:
            self._process = subprocess.Popen(
                [*command, str(folder), pacing, str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **_settings()},
            )

    @property
    def pid(self) -> int:
        """Of the sample's process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def wait(self) -> None:
        """Wait until devices can connect. Raises DeviceError if it ends or takes too long."""
        end = time.monotonic() + START
        while not self.address.exists():
            if not self.running:
                raise DeviceError(f"the virtual laboratory did not start: {self._last_words()}")
            if time.monotonic() > end:
                raise DeviceError(f"the virtual laboratory was not ready within {START:g} s.")
            time.sleep(0.02)

    def set_faults(self, **changes: float | bool) -> None:
        """Let things go wrong, or right again: keys of `SampleFaults`. Raises DeviceError."""
        self._connection().ask("faults", faults=changes)

    def status(self) -> Mapping[str, Any]:
        """Return how it fares: `now`, frames `dropped` and `left_out`, `stalls`, `lag` in s.

        Raises DeviceError.
        """
        return self._connection().ask("status")

    def kill(self) -> None:
        """Kill the process, as a power cut would."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End the process; may be called twice."""
        with contextlib.suppress(DeviceError):
            if self.running and self.address.exists():
                self._connection().ask("end")
        if self._control is not None:
            self._control.close()
        for act in (None, signal.SIGTERM, signal.SIGKILL):
            if act is not None and self.running:
                self._process.send_signal(act)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END if self.address.exists() or act else 0)
                break
        self._clean()

    def _connection(self) -> Connection:
        if self._control is None:
            self._control = Connection(self.address, "control")
        return self._control

    def _last_words(self) -> str:
        lines = (self.folder / "sample.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with status {self._process.returncode}."

    def _clean(self) -> None:
        """Remove what a killed process could not remove itself."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            shutil.rmtree(Path(json.loads(self.address.read_text())["socket"]).parent)
        self.address.unlink(missing_ok=True)


def _settings() -> dict[str, str]:
    """Variables of the sample's process.

    Ticks are short: threads or a GPU would cost more than they bring. What was compiled is kept for
    the next start, per machine, as homes may be shared.
    """
    settings = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    kept = cache_folder(f"virtual-lab-{platform.node()}")
    if kept is None:
        return settings
    return settings | {
        "JAX_COMPILATION_CACHE_DIR": str(kept),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@contextlib.contextmanager
def virtual_lab(
    config: SampleConfig | None = None,
    folder: str | Path | None = None,
    pacing: Literal["real-time", "lockstep"] = "real-time",
) -> Iterator[VirtualLab]:
    """Run a virtual laboratory for the length of a `with` block.

    Args:
        config: what it is; by default Janus discs in bright field.
        folder: for its files, made if it is not there; a temporary one that is removed if left out.
        pacing: "real-time", or "lockstep": the time goes on to the next frame when that is asked
            for, and stands still otherwise.

    Raises ConfigError, or DeviceError if the folder holds a laboratory already or it does not
    start.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="swarmctl-lab-", ignore_cleanup_errors=True)
            )
        place = Path(folder).resolve()
        place.mkdir(parents=True, exist_ok=True)
        if (place / ADDRESS).exists() or (place / "truth.h5md").exists():
            raise DeviceError(f"{place} holds a virtual laboratory already; give another folder.")
        lab = VirtualLab(place, SampleConfig() if config is None else config, pacing)
        stack.callback(lab.stop)
        lab.wait()
        yield lab
