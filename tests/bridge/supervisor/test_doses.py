"""Closing a supervisor, or killing it, is no way around the limits over a window."""

import os
import signal
import time

import numpy as np
import pytest

from swarmctl.bridge.orders import Values
from swarmctl.bridge.supervisor.client import SupervisorClient
from swarmctl.bridge.supervisor.doses import DoseMemory, dose_path
from swarmctl.core.errors import ArmingError

SLOW = 'silence = "2 s"\nexpiry = "2 s"\nframe_periods = 40'
HOLD = 2.15
"""s for which an order may stay with these criteria."""


def driven(bench, client, seconds=0.5):
    """Open, arm, and ask for 2 A on the first coil; return the receipts."""
    client.open()
    client.arm("Ada", bench.evidence())
    client.activate()
    bench.client = client
    outputs = {"coils": Values(np.array([2.0, 0.5]))}
    receipts = bench.drive(seconds, lambda: bench.order(outputs=outputs))
    return [receipt for receipt in receipts if receipt.sent]


def limited_rig(bench, square):
    bench.write_rig(supervisor=SLOW)
    text = bench.rig.read_text().replace("square = [1000.0,", f"square = [{square},")
    bench.rig.write_text(text)


def again(bench, name):
    return SupervisorClient(bench.rig, bench.folder / f"{name}.jsonl")


def test_a_new_supervisor_goes_on_with_the_doses_of_the_last(bench):
    """With 4 A² for as long as an order may hold, and a little more, the dose is used up."""
    limited_rig(bench, 4 * HOLD + 0.5)
    assert "square" not in str(driven(bench, bench.client)[0].limited)
    bench.client.close()
    receipts = driven(bench, again(bench, "second"))
    assert "square" in receipts[0].limited["coils"]
    left = 4 * HOLD + 0.5 - 4 * 0.4
    assert receipts[0].sent["coils"].value[0] ** 2 * HOLD <= left


def test_after_a_killed_supervisor_nobody_knows_the_doses(bench):
    limited_rig(bench, 1000.0)
    driven(bench, bench.client, 0.1)
    os.kill(bench.client.process, signal.SIGKILL)
    bench.client._process.wait()
    bench.client.close()
    client = bench.client = again(bench, "second")
    client.open()
    for evidence in (None, bench.evidence()):
        with pytest.raises(ArmingError, match=r"nobody knows what the outputs did.*, (10|9) s"):
            client.arm("Ada", evidence)


def test_a_file_that_cannot_be_read_or_is_of_other_limits_counts_as_unknown(bench):
    limited_rig(bench, 1000.0)
    dose_path(bench.rig).write_bytes(b"rubbish")
    bench.client.open()
    with pytest.raises(ArmingError, match="nobody knows"):
        bench.client.arm("Ada", bench.evidence())


def test_other_windows_wait_for_what_is_left_of_the_old_ones(bench):
    limited_rig(bench, 1000.0)
    driven(bench, bench.client, 0.1)
    bench.client.close()
    bench.rig.write_text(bench.rig.read_text().replace("cell = 8", "cell = 16"))
    client = bench.client = again(bench, "second")
    client.open()
    with pytest.raises(ArmingError, match=r"nobody knows what the outputs did.*, \d s"):
        client.arm("Ada", bench.evidence())
    client.close()
    later = DoseMemory(dose_path(bench.rig), {}, time.monotonic())
    assert later.unknown_until < time.monotonic() + 10


def test_a_time_out_of_the_device_beyond_the_window_is_none(bench):
    client = bench.write_rig(coils='own_timeout = "20 s"', supervisor=SLOW)
    client.open()
    with pytest.raises(ArmingError, match=r"coils stays as it is for 20 s .* window of 10 s"):
        client.arm("Ada", bench.evidence())


def test_who_never_armed_leaves_no_file(bench):
    client = bench.write_rig(supervisor=SLOW)
    client.open()
    time.sleep(0.05)
    client.close()
    assert not dose_path(bench.rig).exists()
