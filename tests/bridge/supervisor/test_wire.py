"""Messages survive any cut of their bytes; what is none is one clear error and bounded memory."""

import json

import numpy as np
import pytest

from swarmctl.bridge.gatekeeper import Evidence
from swarmctl.bridge.orders import Order, Receipt, Report, Spots, Standing, Values
from swarmctl.bridge.supervisor.messages import (
    evidence_fields,
    order_message,
    read_evidence,
    read_order,
    read_receipt,
    read_report,
    receipt_message,
    report_message,
)
from swarmctl.bridge.supervisor.wire import BODY_MAX, PREFIX, Message, Unpacker, pack
from swarmctl.core.errors import LinkError

SPOTS = Spots(
    np.array([[1.5, 2.5], [3.0, -4.0]]),
    np.array([5.0, 6.0]),
    np.array([0.1, np.nan]),
    np.array([7, -1], np.int64),
    "even",
    np.array([np.nan, 0.5]),
)
ORDER = Order(3, 9, 1.25, 1.5, 1.75, 12, {"light": SPOTS, "coils": Values(np.array([1.0, -2.0]))})


def through(message):
    return Unpacker().feed(pack(message))[0]


def same(a, b):
    assert type(a) is type(b)
    for name, value in vars(a).items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(value, getattr(b, name), equal_nan=True)
            assert value.dtype == getattr(b, name).dtype
        else:
            assert value == getattr(b, name)


def test_orders_receipts_reports_and_evidence_come_back_as_they_went():
    order = read_order(through(order_message(ORDER)))
    assert {**vars(order), "outputs": 0} == {**vars(ORDER), "outputs": 0}
    for name, asked in ORDER.outputs.items():
        same(order.outputs[name], asked)
    receipt = Receipt(3, {"coils": Values(np.zeros(2))}, {"coils": "slew"}, 1.0)
    back = read_receipt(through(receipt_message(receipt)))
    assert (back.number, back.limited, back.issued, back.confirmed) == (
        3,
        {"coils": "slew"},
        1.0,
        np.inf,
    )
    same(back.sent["coils"], receipt.sent["coils"])
    report = Report(Standing.FAULT, "why", 1.0, 0.01, np.inf, None, "Ada")
    assert read_report(through(report_message(report))) == report
    evidence = Evidence("a", 1.0, 2.0, None, 3.0, "b")
    assert read_evidence(evidence_fields(evidence)) == evidence


def test_any_cut_of_the_bytes_gives_the_same_messages():
    messages = [order_message(ORDER), Message("beat", {"frame": 1}), order_message(ORDER)]
    data = b"".join(pack(message) for message in messages)
    rng = np.random.default_rng(0)
    for _ in range(20):
        cuts = np.sort(rng.integers(0, len(data), rng.integers(0, 40)))
        unpacker, found = Unpacker(), []
        for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
            found += unpacker.feed(data[start:stop])
        assert [m.kind for m in found] == ["order", "beat", "order"]
        same(read_order(found[2]).outputs["light"], SPOTS)


def test_thousands_of_mutilated_frames_are_errors_or_messages_and_nothing_else():
    rng = np.random.default_rng(1)
    data = pack(order_message(ORDER))
    errors = 0
    for _ in range(3000):
        bad = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            bad[rng.integers(len(bad))] = rng.integers(256)
        if rng.random() < 0.2:
            bad = bytearray(rng.bytes(rng.integers(1, 200)))
        unpacker = Unpacker()
        try:
            for message in unpacker.feed(bytes(bad)):
                read_order(message)
        except LinkError:
            errors += 1
    assert errors > 1000


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        PREFIX.pack(b"SWSV", 2, 0, 2, 0) + b"{}",
        PREFIX.pack(b"SWSV", 1, 0, 2, BODY_MAX + 1),
        PREFIX.pack(b"SWSV", 1, 0, 2**31, 0),
        PREFIX.pack(b"SWSV", 1, 0, 2, 0) + b"[]",
        PREFIX.pack(b"SWSV", 1, 0, 4, 0) + b"\xff\xff\xff\xff",
        PREFIX.pack(b"SWSV", 1, 0, 20000, 0) + b"[" * 20000,
    ],
)
def test_what_is_no_frame_is_refused(data):
    with pytest.raises(LinkError):
        Unpacker().feed(data)


@pytest.mark.parametrize(
    ("arrays", "body"),
    [
        ([["a", "f8", [2]]], 8),
        ([["a", "f8", [1]]], 16),
        ([["a", "O8", [1]]], 8),
        ([["a", "f8", [-1]]], 8),
        ([["a", "f8", [2**40, 2**40]]], 8),
        ([["a", "f8", "xy"]], 8),
        (["a"], 8),
        (5, 0),
    ],
)
def test_arrays_that_do_not_fit_the_body_are_refused(arrays, body):
    header = json.dumps({"kind": "order", "fields": {}, "arrays": arrays}).encode()
    with pytest.raises(LinkError):
        Unpacker().feed(PREFIX.pack(b"SWSV", 1, 0, len(header), body) + header + b"\0" * body)


@pytest.mark.parametrize(
    "change",
    [
        {"number": "1"},
        {"number": True},
        {"found": None},
        {"expires": "soon"},
        {"outputs": 3},
        {"outputs": [{"name": "light"}]},
        {"surprise": 1},
    ],
)
def test_fields_of_another_kind_are_refused(change):
    message = order_message(ORDER)
    with pytest.raises(LinkError):
        read_order(Message("order", {**message.fields, **change}, message.arrays))
    with pytest.raises(LinkError):
        read_order(Message("order", {"number": 1, "outputs": []}))


def test_only_numbers_of_double_length_are_sent_and_not_too_many():
    with pytest.raises(LinkError, match="f8 or i8"):
        pack(Message("order", arrays={"a": np.zeros(3, np.float32)}))
    with pytest.raises(LinkError, match="at most"):
        pack(Message("order", arrays={"a": np.zeros(BODY_MAX)}))
