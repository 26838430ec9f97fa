"""A rig of file devices in a folder, a loop that drives it, and what is found there afterwards."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from swarmctl.bridge.gatekeeper import Evidence
from swarmctl.bridge.orders import Order, Spots, Standing, Values
from swarmctl.bridge.rig import read_rig
from swarmctl.bridge.supervisor.audit import read_audit
from swarmctl.bridge.supervisor.client import SupervisorClient

HERE = Path(__file__).parent
RIG = """
name = "bench of files"
{interlock}
[camera]
driver = "{devices}:FileCamera"
[outputs.light]
driver = "{devices}:FileLight"
file = "{folder}/light.log"
{light}
[outputs.light.limits]
power_max = 0.8
power_total = 2.0
slew = 1000.0
spots_max = 10
radius_max = 20.0
window = "10 s"
duty_max = 1.0
dose_colloid = 100.0
dose_area = 100.0
cell = 8
[outputs.coils]
driver = "{devices}:FileValues"
file = "{folder}/coils.log"
{coils}
[outputs.coils.limits]
low = [-4.0, -1.0]
high = [4.0, 4.0]
slew = [{slew}, {slew}]
total = 6.0
window = "10 s"
duty_max = 1.0
square = [1000.0, 1000.0]
[supervisor]
{supervisor}
"""


@dataclass
class Bench:
    """A folder with a rig, and its devices' journals."""

    folder: Path
    client: SupervisorClient = field(init=False)
    number: int = 0
    frame: int = 0

    @property
    def rig(self):
        return self.folder / "rig.toml"

    @property
    def audit(self):
        return self.folder / "audit.jsonl"

    def write_rig(
        self, light="", coils="", supervisor="", interlock="", slew=1000.0, unguarded=True
    ):
        text = RIG.format(
            devices=HERE / "file_devices.py",
            folder=self.folder,
            light=light,
            coils=coils,
            slew=slew,
            supervisor=supervisor,
            interlock=interlock or ('unguarded = "files burn nobody"' if unguarded else ""),
        )
        self.rig.write_text(text)
        self.client = SupervisorClient(self.rig, self.audit)
        return self.client

    def evidence(self, **changes):
        now = time.time()
        digest = read_rig(self.rig).digest
        fields = {"calibration": "abc", "calibrated": now - 60, "expires": now + 3600}
        fields |= {"spot_error": 0.4, "spot_error_max": 1.0, "rig": digest}
        return Evidence(**{**fields, **changes})

    def start(self, evidence=True, **rig):
        """Open, arm and activate."""
        client = self.write_rig(**rig)
        client.open()
        client.arm("Ada", self.evidence() if evidence else None)
        client.activate()
        return client

    def order(self, **changes):
        """Return an order that lights one colloid and drives the coils."""
        self.number += 1
        self.frame += 1
        now = time.monotonic()
        spots = Spots(
            np.array([[40.0, 30.0]]), np.array([6.0]), np.array([0.5]), np.array([3], np.int64)
        )
        outputs = {"light": spots, "coils": Values(np.array([1.5, 1.0]))}
        fields = {"number": self.number, "frame": self.frame, "exposed": now - 0.005}
        fields |= {"issued": now, "expires": now + 5.0, "found": 5, "outputs": outputs}
        return Order(**{**fields, **changes})

    def drive(self, seconds=0.1, make=None):
        """Send an order every 10 ms; return the receipts."""
        receipts = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.client.send(make() if make else self.order())
            time.sleep(0.01)
            receipts += self.client.receipts()
        return receipts

    def until(self, condition, seconds=5.0):
        """Wait for a report that fits, without a beat; return it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            report = self.client.report()
            if condition(report):
                return report
            time.sleep(0.002)
        raise AssertionError(f"not in {seconds} s: {self.client.report()}")

    def until_safe(self):
        """Wait until a fault was answered by every device."""
        return self.until(lambda r: r.standing is Standing.FAULT and np.isfinite(r.safe_confirmed))

    def journal(self, name):
        """Return [(time, what, value)] of a device."""
        lines = (self.folder / f"{name}.log").read_text().splitlines()
        return [tuple(json.loads(line)) for line in lines]

    def records(self, event=None):
        """Return the verified records of the audit log."""
        records = read_audit(self.audit).records
        return [r for r in records if event is None or r["event"] == event]

    def wait_records(self, event, count=1, since=0.0, seconds=5.0):
        """Return the records of an event once there are so many; the log is written behind."""
        end = time.monotonic() + seconds
        while True:
            found = [r for r in self.records(event) if r["time"] >= since]
            if len(found) >= count or time.monotonic() > end:
                return found
            time.sleep(0.01)

    def rearm(self):
        """Clear the fault and activate again."""
        self.client.clear("Ada")
        self.client.arm("Ada", self.evidence())
        self.client.activate()
        self.drive(0.05)

    def fault(self, name, what="error"):
        """Give a device a fault; return the file whose removal ends it."""
        path = self.folder / f"{name}.{what}"
        path.touch()
        return path


@pytest.fixture(scope="session")
def make_bench():
    return Bench


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    for fault in tmp_path.glob("*.hang"):
        fault.unlink()
    if hasattr(made, "client"):
        try:
            made.client.close()
        finally:
            process = made.client._process
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
