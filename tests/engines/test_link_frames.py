"""The framed protocol on bytes: layouts, splits, checks."""

import itertools
import re
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from swarmctl.core.errors import LinkClosedError, LinkError
from swarmctl.engines.link import frames
from swarmctl.engines.link.frames import FrameReader, FrameWriter, Hello, Kind, Role
from swarmctl.engines.link.laboratory import state_rows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "link-protocols.md"
MOST = 20
ABOUT = Hello(Role.LABORATORY, frozenset({"speed", "turn_rate"}), 2, 0.5, 0.05, 10.0, "bench 2")


def example_state():
    return state_rows(np.array([7, 3]), np.array([[1.5, 2.5], [99, -1]]), np.array([0.5, np.nan]))


def example_command():
    rows = np.zeros(1, frames.COMMAND_ROW)
    rows["id"], rows["action"], rows["speed"], rows["turn_rate"] = 7, 2, 2.0, -0.25
    return frames.pack_command(2.0, frozenset({"speed", "turn_rate"}), rows)


def transcript():
    """A HELLO, a heartbeat, a STATE, a COMMAND and a STOP of one writer."""
    writer = FrameWriter()
    said = [
        (Kind.HELLO, ABOUT.pack()),
        (Kind.HEARTBEAT, b""),
        (Kind.STATE, frames.pack_state(12.5, 0, False, example_state())),
        (Kind.COMMAND, example_command()),
        (Kind.STOP, b"shutter"),
    ]
    return [writer.frame(kind, payload, 1000.0 + i)[0] for i, (kind, payload) in enumerate(said)]


def documented(name):
    """The bytes of an example on the page."""
    block = re.search(rf"```text title=\"{name}\"\n(.*?)```", PAGE.read_text("utf-8"), re.S)[1]
    lines = [line.partition("|")[0] for line in block.splitlines()]
    return bytes.fromhex("".join(lines))


@pytest.mark.parametrize(("name", "index"), [("HELLO", 0), ("STATE", 2), ("COMMAND", 3)])
def test_the_documented_bytes_are_those_of_the_code(name, index):
    assert documented(name) == transcript()[index]


def test_the_layout_by_hand():
    """The same frame made with nothing but struct and zlib, as an author of a client would."""
    payload = struct.pack("<dQII", 12.5, 0, 0, 2)
    payload += struct.pack("<iiII3d", 7, 0, 7, 0, 1.5, 2.5, 0.5)
    payload += struct.pack("<iiII3d", 3, 0, 5, 0, 99.0, -1.0, 0.0)
    head = struct.pack("<4sHHIIQd", b"SWLK", 1, 3, len(payload), 0, 2, 1002.0)
    assert len(head) == 32
    made = head + payload + struct.pack("<I", zlib.crc32(head + payload))
    assert made == transcript()[2]


def test_what_is_packed_is_read_again():
    read = FrameReader(MOST).feed(b"".join(transcript()))
    assert [f.kind.name for f in read] == ["HELLO", "HEARTBEAT", "STATE", "COMMAND", "STOP"]
    assert [f.sequence for f in read] == [0, 1, 2, 3, 4]
    assert frames.read_hello(read[0].payload) == ABOUT
    state = frames.read_state(read[2].payload)
    assert (state.time, state.answered, state.expired) == (12.5, 0, False)
    assert state.sighting.identity.tolist() == [7, 3]
    np.testing.assert_array_equal(state.sighting.angle, [0.5, np.nan])
    command = frames.read_command(read[3].payload)
    assert command.channels == {"speed", "turn_rate"}
    assert command.expiry == 2
    assert command.rows["turn_rate"].tolist() == [-0.25]
    assert frames.read_text(read[4].payload) == "shutter"


def test_every_way_to_split_a_transcript_gives_the_same_frames():
    data = b"".join(transcript())
    wanted, random = FrameReader(MOST).feed(data), np.random.default_rng(3)
    splits = [[at] for at in range(len(data) + 1)] + [list(range(len(data)))]
    splits += [sorted(random.integers(0, len(data) + 1, 20)) for _ in range(200)]
    for cuts in splits:
        edges = [0, *cuts, len(data)]
        reader = FrameReader(MOST)
        found = [frame for a, b in itertools.pairwise(edges) for frame in reader.feed(data[a:b])]
        assert found == wanted


def framed(kind, payload, sequence=0, version=1, magic=b"SWLK", length=None, time=0.0):
    size = len(payload) if length is None else length
    head = struct.pack("<4sHHIIQd", magic, version, kind, size, 0, sequence, time)
    return head + payload + struct.pack("<I", zlib.crc32(head + payload))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"GET / HTTP/1.1\r\n", "does not speak the framed protocol"),
        (framed(6, b"", version=2), "speaks version 2; this is version 1"),
        (framed(99, b""), "unknown kind 99"),
        (framed(6, b"", sequence=1), "sequence number 1, expected was 0"),
        (framed(3, b"", length=2**32 - 1), "STATE of 4294967295 bytes; it may have at most 824"),
        (framed(1, b"", length=3), "HELLO of 3 bytes; it may have 72"),
        (framed(6, b"")[:-1] + b"\0", "checksum of the peer's HEARTBEAT"),
        (framed(6, b"", time=float("nan")), "of the time nan"),
    ],
)
def test_a_frame_that_is_wrong_is_one_clear_error(data, says):
    with pytest.raises(LinkError, match=says):
        FrameReader(MOST).feed(data)


def state_payload(count=1, time=1.0, flags=7, identity=1, x=0.0, theta=0.0):
    rows = struct.pack("<iiII3d", identity, 0, flags, 0, x, 0.0, theta) * count
    return struct.pack("<dQII", time, 0, 0, count) + rows


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"", "has 0 bytes, fewer than 24"),
        (state_payload()[:-1], "with 1 rows has 63 bytes, not 64"),
        (state_payload(time=float("inf")), "of the time inf"),
        (state_payload(identity=-1), "the id -1"),
        (state_payload(2), "an id twice"),
        (state_payload(x=float("nan")), "position that is not finite"),
        (state_payload(theta=float("nan")), "angle that is not finite"),
    ],
)
def test_a_state_that_is_wrong_is_one_clear_error(payload, says):
    with pytest.raises(LinkError, match=says):
        frames.read_state(payload)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        (0, 3, "role is 3"),
        (2, 2**20, "channels 0x100000"),
        (5, float("nan"), "control interval is nan"),
        (7, -1.0, "silence is -1"),
    ],
)
def test_a_hello_that_is_wrong_is_one_clear_error(field, value, says):
    values = list(frames.HELLO.unpack(ABOUT.pack()))
    values[field] = value
    with pytest.raises(LinkError, match=says):
        frames.read_hello(frames.HELLO.pack(*values))


def test_ten_thousand_fuzzed_streams_end_in_frames_or_a_link_error():
    random, data = np.random.default_rng(5), b"".join(transcript())
    readers = {Kind.STATE: frames.read_state, Kind.COMMAND: frames.read_command}
    found = errors = 0
    tracemalloc.start()
    try:
        for _ in range(10_000):
            body = bytearray(data)
            start = random.integers(len(body)) if random.random() < 0.2 else 0
            for _ in range(random.integers(0, 4)):
                body[random.integers(len(body))] = random.integers(256)
            body = body[start : random.integers(start, len(body) + 1)]
            reader, cut = FrameReader(MOST), int(random.integers(len(body) + 1))
            try:
                for piece in (bytes(body[:cut]), bytes(body[cut:])):
                    for frame in reader.feed(piece):
                        readers.get(frame.kind, len)(frame.payload)
                        found += 1
                reader.finish()
            except LinkError:
                errors += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert errors == 10_000
    assert found > 1000
    assert peak < 1e6, f"{peak} bytes"


def test_fuzzed_payloads_with_a_right_checksum_are_read_or_refused():
    random = np.random.default_rng(6)
    good = {
        frames.read_state: frames.pack_state(1.0, 0, False, example_state()),
        frames.read_command: example_command(),
        frames.read_hello: ABOUT.pack(),
    }
    refused = 0
    for count in range(3000):
        read, payload = list(good.items())[count % 3]
        body = bytearray(payload)
        for _ in range(random.integers(1, 5)):
            body[random.integers(len(body))] = random.integers(256)
        try:
            read(bytes(body))
        except LinkError:
            refused += 1
    assert 300 < refused < 3000


def test_the_end_of_a_stream_says_whether_something_was_cut():
    reader = FrameReader(MOST)
    reader.feed(transcript()[0][:-1])
    with pytest.raises(LinkClosedError, match="middle of a frame, after 107 bytes"):
        reader.finish()


def test_the_client_needs_neither_jax_nor_anything_but_numpy():
    code = (
        "import sys, swarmctl.engines.link.laboratory\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    named = {name for name in ran.stdout.split() if not name.startswith("_")}
    assert named <= {"numpy", "swarmctl"} | {n for n in named if "finder" in n or "cython" in n}
