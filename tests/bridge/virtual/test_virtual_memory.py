"""Shared rings: nothing half-written is read, the newest comes first, strangers are refused."""

import socket
import struct
import threading

import numpy as np
import pytest

from swarmctl.bridge.virtual.shared_memory import Board, Ring
from swarmctl.bridge.virtual.wire import LONGEST, pack, receive, send, take
from swarmctl.core.errors import DeviceError, DeviceTimeoutError


def test_the_newest_image_comes_and_lost_ones_are_known():
    ring = Ring.create((4, 6), np.uint16, 3)
    reader = Ring(ring.descriptor, (4, 6), np.uint16, 3)
    assert reader.latest(0) is None
    for number in range(1, 6):
        ring.write(np.full((4, 6), 100 * number, np.uint16), number, number / 10, number / 5)
    newest = reader.latest(2)
    assert (newest.serial, newest.number, newest.time, newest.due) == (5, 5, 0.5, 1.0)
    assert (newest.image == 500).all()
    assert reader.latest(5) is None
    assert [entry.number for entry in reader.since(0)] == [3, 4, 5]
    assert reader.read(1) is None


def test_an_image_is_never_half_of_two():
    ring = Ring.create((64, 64), np.uint8, 2)
    reader, done = Ring(ring.descriptor, (64, 64), np.uint8, 2), threading.Event()

    def write():
        for number in range(2000):
            ring.write(np.full((64, 64), number % 251, np.uint8), number, 0.0, 0.0)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    finished = False
    while not finished:
        finished = done.is_set()
        found = reader.read(reader.newest) if reader.newest else None
        if found is not None:
            assert (found.image == found.number % 251).all()
    writer.join()
    assert found is not None
    assert found.number == 1999


def test_another_layout_is_refused():
    ring = Ring.create((8, 8), np.uint8, 4)
    with pytest.raises(DeviceError, match="another layout"):
        Ring(ring.descriptor, (8, 4), np.uint8, 4).check()
    with pytest.raises(DeviceError, match="too small"):
        Ring(ring.descriptor, (800, 800), np.uint8, 4)


def test_board():
    board = Board.create()
    board.write(1.5, 2.5, 7, True)
    copy = Board(board.descriptor)
    assert (copy.clock, copy.alive, copy.shown, copy.interlock) == (1.5, 2.5, 7, True)


def test_messages_survive_being_cut():
    data = pack({"ask": "hello"}) + pack({"n": 1.5})
    buffer, found = bytearray(), []
    for byte in data:
        buffer.append(byte)
        while (message := take(buffer)) is not None:
            found.append(message)
    assert found == [{"ask": "hello"}, {"n": 1.5}]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (struct.pack(">I", LONGEST + 1), "at most"),
        (struct.pack(">I", 2) + b"[]", "object"),
        (struct.pack(">I", 3) + b"\xff{]", "no JSON"),
    ],
)
def test_nonsense_is_refused(data, what):
    with pytest.raises(DeviceError, match=what):
        take(bytearray(data))


def test_silence_and_absence_are_told_apart():
    here, there = socket.socketpair()
    with pytest.raises(DeviceTimeoutError, match="did not answer"):
        receive(here, 0.01)
    there.close()
    with pytest.raises(DeviceError, match="gone"):
        receive(here, 1.0)
    with pytest.raises(DeviceError, match="gone"):
        send(here, {"ask": "status"})
    here.close()
