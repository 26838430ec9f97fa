"""The states of the hardware: who may arm it, what orders do, and how it comes to rest."""

import itertools
import time

import numpy as np
import pytest

from swarmctl.bridge.orders import Spots, Standing, Values
from swarmctl.bridge.rig import read_rig
from swarmctl.bridge.supervisor.messages import order_message
from swarmctl.bridge.supervisor.wire import Message
from swarmctl.core.errors import ArmingError, ConfigError, SupervisorLostError

SLOW = 'silence = "2 s"\nexpiry = "2 s"\nframe_periods = 40'
"""Criteria that a test meets that waits for its turn on a busy machine."""


def coils(x, y=0.5):
    return {"coils": Values(np.array([x, y]))}


def answer(bench, order):
    """Send an order and wait for its receipt."""
    bench.client.send(order)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        for receipt in bench.client.receipts():
            if receipt.number == order.number:
                return receipt
        time.sleep(0.002)
    raise AssertionError("no receipt")


def test_open_makes_outputs_safe_and_close_does_it_again_and_lets_go(bench):
    client = bench.write_rig()
    client.open()
    assert client.report().standing is Standing.CONFIGURED
    assert [what for _, what, _ in bench.journal("coils")] == ["connect", "safe"]
    assert client.outputs["light"].shape == (64, 96)
    assert [channel.name for channel in client.outputs["coils"].channels] == ["x", "y"]
    client.close()
    client.close()
    assert [what for _, what, _ in bench.journal("coils")][-2:] == ["safe", "disconnect"]
    with pytest.raises(SupervisorLostError):
        client.send(bench.order())


def test_every_reason_against_arming_is_said_at_once(bench):
    client = bench.write_rig(light='own_timeout = "0 s"', coils='own_timeout = "0 s"')
    client.open()
    bad = bench.evidence(expires=1.0, rig="other", spot_error=3.0)
    with pytest.raises(ArmingError) as caught:
        client.arm(" ", bad)
    for reason in (
        "nobody is named who arms it",
        "light stays as it is if the supervisor dies",
        "coils stays as it is if the supervisor dies",
        "the calibration is of another rig",
        "the calibration expired on 1970",
        "a spot lay 3 px from where it should, 1 px are allowed",
    ):
        assert reason in str(caught.value)
    assert client.report().standing is Standing.CONFIGURED
    for change, reason in (
        ({"rig": ""}, "does not say of which rig"),
        ({"spot_error": None}, "no spot was projected"),
        ({"spot_error": float("nan")}, "the spot check failed"),
        ({"calibrated": time.time() + 1e6}, "dated in the future"),
        ({"calibration": ""}, "there is no calibration"),
        ({"expires": float("nan")}, "expired"),
    ):
        with pytest.raises(ArmingError, match=reason):
            client.arm("Ada", bench.evidence(**change))
    refused = bench.wait_records("arm", 7)
    assert len(refused) == 7
    assert all(record["refused"] for record in refused)


def test_a_device_without_a_time_out_is_armed_if_the_rig_says_why_that_is_harmless(bench):
    client = bench.write_rig(light='own_timeout = "0 s"\nunguarded = "a lamp of 1 mW"')
    client.open()
    client.arm("Ada", bench.evidence())
    assert client.report().operator == "Ada"
    assert client.report().standing is Standing.ARMED


def test_orders_are_obeyed_in_active_only(bench):
    client = bench.write_rig(supervisor=SLOW)
    client.open()
    with pytest.raises(ArmingError, match="has to be ARMED"):
        client.activate()
    receipt = answer(bench, bench.order())
    assert receipt.sent == {}
    assert receipt.limited["light"] == "not sent: the hardware is CONFIGURED"
    client.arm("Ada", bench.evidence())
    assert "ARMED" in answer(bench, bench.order()).limited["coils"]
    client.activate()
    receipt = answer(bench, bench.order())
    assert receipt.limited == {}
    assert receipt.issued <= receipt.confirmed < np.inf
    assert bench.journal("light")[-1][1:] == ("show", 127)  # 0.5 mW of 1 mW
    assert bench.journal("coils")[-1][1:] == ("write", [1.5, 1.0])


def test_what_a_limit_cuts_is_sent_said_and_logged(bench):
    bench.start(supervisor=SLOW, slew=20.0)
    answer(bench, bench.order(outputs=coils(0.0)))
    receipt = answer(bench, bench.order(outputs=coils(3.9)))
    value = receipt.sent["coils"].value[0]
    assert 0 < value < 3.9 or "slew" not in receipt.limited.get("coils", "")
    receipt = answer(bench, bench.order(outputs=coils(40.0)))
    assert receipt.limited["coils"].startswith("amplitude: x 40 to 4")
    assert bench.journal("coils")[-1][2] == pytest.approx(receipt.sent["coils"].value.tolist())
    record = bench.wait_records("order", 3)[-1]
    assert record["requested"]["coils"].value.tolist() == [40.0, 0.5]
    assert record["limited"] == receipt.limited
    assert record["operator"] == "Ada"
    assert record["frame"] == bench.frame


def test_an_output_that_is_not_named_keeps_what_it_does_and_is_told_again(bench):
    bench.start(supervisor=SLOW)
    answer(bench, bench.order())
    shown = len(bench.journal("light"))
    answer(bench, bench.order(outputs=coils(2.0)))
    end = time.monotonic() + 5
    while len(bench.journal("light")) == shown and time.monotonic() < end:
        time.sleep(0.005)
    # Its own time-out counts from the last write.
    assert bench.journal("light")[-1][1:] == ("show", 127)


def test_a_slow_device_gets_the_newest_order_and_the_others_are_answered(bench):
    bench.start(supervisor=SLOW, coils='duration = "0.1 s"')
    receipts = bench.drive(0.4)
    replaced = [r for r in receipts if "replaced" in r.limited.get("coils", "")]
    assert replaced
    assert any("light" in receipt.sent for receipt in replaced)
    written = [entry for entry in bench.journal("coils") if entry[1] == "write"]
    assert len(written) <= 8
    # Nobody makes a device safe while it is only slow.
    assert [what for _, what, _ in bench.journal("coils")].count("safe") == 1


def test_an_order_that_comes_too_late_is_not_obeyed(bench):
    bench.start(supervisor=SLOW)
    now = time.monotonic()
    receipt = answer(bench, bench.order(issued=now - 1, expires=now - 0.5))
    assert "had expired" in receipt.limited["light"]
    receipt = answer(bench, bench.order(exposed=now - 60))
    assert "rests on a frame of 60" in receipt.limited["light"]
    assert not [entry for entry in bench.journal("light") if entry[1] == "show"]


def test_dry_orders_are_limited_and_logged_and_never_sent(bench):
    client = bench.write_rig()
    client.open()
    receipt = answer(bench, bench.order(dry=True, outputs=coils(40.0)))
    assert receipt.limited["coils"].startswith("amplitude: x 40 to 4")
    assert np.isnan(receipt.issued)
    receipt = answer(bench, bench.order(dry=True, outputs=coils(np.nan)))
    assert receipt.limited["coils"].startswith("refused: a value that is not finite")
    assert client.report().standing is Standing.CONFIGURED
    assert [what for _, what, _ in bench.journal("coils")] == ["connect", "safe"]
    client.close()
    assert [record["dry"] for record in bench.records("order")] == [True, True]


def test_rest_comes_down_within_the_slew_limits_and_keeps_the_outputs_armed(bench):
    client = bench.start(supervisor=SLOW, slew=20.0)
    now = time.monotonic()
    while time.monotonic() < now + 0.4:
        client.send(bench.order(outputs=coils(3.0)))
        time.sleep(0.01)
    began = time.monotonic()
    client.rest("a pause")
    bench.until(lambda r: r.standing is Standing.ARMED)
    journal = [entry for entry in bench.journal("coils") if entry[0] > began]
    values = np.array([entry[2][0] for entry in journal])
    assert np.all(np.diff(values) <= 0)
    assert np.any((values > 0) & (values < 3))
    assert journal[-1][0] - began >= 0.8 * 3.0 / 20.0
    assert journal[-1][1] == "safe"
    bench.until(lambda r: r.standing is Standing.ARMED)
    client.activate()
    assert answer(bench, bench.order()).limited.get("light") is None


def test_a_ramp_after_a_soft_fault_comes_down_in_steps_and_ends_in_time(bench):
    bench.start(
        supervisor='ramp = "0.08 s"\nsilence = "0.4 s"\nexpiry = "0.4 s"\nframe_periods = 9'
    )
    bench.drive(0.1)
    bench.until_safe()
    began = bench.wait_records("fault")[0]["criterion"]
    journal = [entry for entry in bench.journal("coils") if entry[0] > began]
    values = [entry[2][0] for entry in journal]
    assert all(a >= b for a, b in itertools.pairwise(values))
    assert any(0 < value < 1.5 for value in values)
    assert journal[-1][1:] == ("safe", [0.0, 0.5])


def test_probing_has_narrower_limits_and_ends(bench):
    probing = '[supervisor.probing]\nscale = 0.25\nduration = "2 s"'
    client = bench.start(evidence=False, supervisor=f"{SLOW}\n{probing}")
    receipt = answer(bench, bench.order(outputs=coils(4.0)))
    assert receipt.sent["coils"].value[0] == pytest.approx(1.0)
    bright = bench.order()
    bright.outputs["light"].power[:] = 0.8
    assert answer(bench, bright).sent["light"].power[0] == pytest.approx(0.2)
    # No colloid needs to be there; and who has a calibration now arms it anew, as a whole.
    for _ in range(5):
        assert answer(bench, bench.order(found=0)).issued > 0
    client.rest("probed")
    bench.until(lambda r: r.standing is Standing.ARMED)
    client.arm("Ada", bench.evidence())
    client.activate()
    assert answer(bench, bench.order(outputs=coils(4.0))).sent["coils"].value[0] == 4.0
    client.rest("done")
    bench.until(lambda r: r.standing is Standing.ARMED)
    client.arm("Ada", None)
    report = bench.until_safe()
    assert report.fault == "the time for probing is over"


def test_a_rig_that_does_not_fit_its_devices_is_refused_before_anything_is_connected(bench):
    client = bench.write_rig(slew=1000.0)
    text = bench.rig.read_text()
    bench.rig.write_text(text.replace("low = [-4.0, -1.0]", "low = [-4.0, 1.0]"))
    with pytest.raises(ConfigError, match=r"the safe value 0\.5 A of y is not within its limits"):
        client.open()
    bench.rig.write_text(text.replace("power_max = 0.8\n", ""))
    bench.audit.unlink()
    with pytest.raises(ConfigError, match="power_max"):
        client.open()
    assert not (bench.folder / "coils.log").exists()


def test_closing_while_outputs_act_is_no_fault_and_obeys_nothing_more(bench):
    client = bench.start(coils='duration = "0.25 s"')
    bench.drive(0.1)
    late = order_message(bench.order())
    ask = client._ask

    def ask_and_send(verb, timeout, **fields):
        client._say(Message("request", {"verb": verb, "id": 0}))
        client._say(late)
        return ask(verb, timeout, **fields)

    client._ask = ask_and_send
    client.close()
    assert not bench.records("fault")
    assert bench.records("order")[-1]["number"] == bench.number
    assert bench.records("order")[-1]["limited"]["light"] == "not sent: the hardware is ARMED"
    assert bench.journal("light")[-1][1:] == ("disconnect", 0)


@pytest.mark.parametrize("reason", ["true", "1", "'  '"])
def test_a_rig_without_interlock_says_why_in_words(bench, reason):
    bench.write_rig()
    text = bench.rig.read_text().replace('"files burn nobody"', reason)
    bench.rig.write_text(text)
    with pytest.raises(ConfigError, match=r"in words|say why it is safe"):
        read_rig(bench.rig)


def test_an_unknown_output_is_a_word_that_makes_no_sense(bench):
    client = bench.start()
    order = bench.order(outputs={"laser": Spots.none()})
    client.send(order)
    assert "unknown outputs: ['laser']" in bench.wait_records("fault")[0]["reason"]
