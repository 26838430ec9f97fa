"""Doses of a rig, kept from one supervisor to the next in a file beside the rig file.

Limits over a window would mean nothing if closing and opening again forgot what was done. So areas
of patterns and channels of values are remembered; colloids get new identities and begin anew.
"""

from __future__ import annotations

import io
import math
import time
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import final

import numpy as np

from swarmctl.bridge.supervisor.guarded import GuardedOutput
from swarmctl.bridge.supervisor.windows import Window
from swarmctl.core.errors import RecordError
from swarmctl.records.files import write_bytes_atomic

BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Names the time since which time.monotonic() counts."""


def dose_path(rig: str | Path) -> Path:
    """Return where the doses of a rig file are kept."""
    path = Path(rig).resolve()
    return path.with_name(f".{path.name}.doses.npz")


@final
class DoseMemory:
    """Reads what the last supervisor of a rig left, and leaves the same for the next one.

    While outputs may be armed the file says that they are in use: if the supervisor is killed then,
    nobody knows the doses, and the next one has to wait until the longest window has passed. So it
    has if the limits are counted otherwise now, or the computer was started anew, from when the
    last one was closed.

    Attributes:
        unknown_until: s of time.monotonic(), before which nothing may be armed; -inf if all is
            known.

    Args:
        path: the file.
        outputs: by name; their ledgers go on where they ended.
        now: s of time.monotonic().
    """

    def __init__(self, path: Path, outputs: Mapping[str, GuardedOutput], now: float) -> None:
        self._path, self._outputs = path, outputs
        self._span = max((output.window for output in outputs.values()), default=0.0)
        self._in_use = False
        self.unknown_until = -math.inf
        try:
            with np.load(path, allow_pickle=False) as file:
                left = {name: np.asarray(file[name]) for name in file.files}
        except FileNotFoundError:
            return
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
            left = {}
        if not self._resume(left, now):
            before = float(left["span"]) if "span" in left else 0.0
            since = max(time.time() - float(left["ended"]), 0.0) if "ended" in left else 0.0
            self.unknown_until = now + max(before, self._span) - since

    def begin(self) -> None:
        """Say that outputs are in use. Raises RecordError if the file cannot be written."""
        if not self._in_use:
            self._write({}, {})
            self._in_use = True

    def end(self) -> None:
        """Leave the doses for the next supervisor; all outputs are safe. Raises RecordError."""
        if self._in_use:
            windows = {
                f"{name}.{kind}": window
                for name, output in self._outputs.items()
                for kind, window in output.doses().items()
            }
            self._write(windows, {"ended": np.array(time.time())})
            self._in_use = False

    def _write(self, windows: Mapping[str, Window], more: Mapping[str, np.ndarray]) -> None:
        parts = {"boot": np.array(_boot()), "span": np.array(self._span), **more}
        for name, window in windows.items():
            parts[f"{name}.about"] = np.array([window.span, window.newest])
            parts[f"{name}.bins"], parts[f"{name}.peaks"] = window.bins, window.peaks
        data = io.BytesIO()
        np.savez_compressed(data, allow_pickle=False, **parts)
        write_bytes_atomic(self._path, data.getvalue())

    def _resume(self, left: Mapping[str, np.ndarray], now: float) -> bool:
        """Let all ledgers go on; return whether what was left is of these limits and this boot."""
        if "boot" not in left or str(left["boot"]) != _boot():
            return False
        found: dict[str, dict[str, Window]] = {}
        for name, output in self._outputs.items():
            found[name] = {}
            for kind, window in output.doses().items():
                key = f"{name}.{kind}"
                if any(f"{key}.{part}" not in left for part in ("about", "bins", "peaks")):
                    return False
                span, newest = left[f"{key}.about"].tolist()
                bins, peaks = left[f"{key}.bins"], left[f"{key}.peaks"]
                fits = span == window.span and bins.shape == peaks.shape == window.bins.shape
                if not (fits and np.isfinite(bins).all() and np.isfinite(peaks).all()):
                    return False
                found[name][kind] = Window(span, int(newest), bins, peaks)
        for name, windows in found.items():
            self._outputs[name].resume(windows, now)
        return True


def _boot() -> str:
    try:
        return BOOT.read_text().strip()
    except OSError as error:
        raise RecordError(f"{BOOT}: cannot be read ({error}).") from None
