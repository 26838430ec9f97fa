"""Codecs of the predecessor's protocol and its dialects: bytes in, sightings out."""

import itertools
import json
import re
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from swarmctl.core.errors import ConfigError, LinkClosedError, LinkError
from swarmctl.engines.link.dialects import DIALECTS, Answer, make_dialect

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "link-protocols.md"
NAN = float("nan")
MOST = 50
PREDECESSOR = bytes.fromhex(
    "08000000"  # 8 doubles follow: two rows of four
    "000000000000f83f" "0000000000000440" "0000000000000000" "0000000000001c40"  # 1.5 2.5 0 7
    "0000000000c05840" "000000000000f0bf" "000000000000e03f" "0000000000000840"  # 99 -1 0.5 3
)  # fmt: skip
PREDECESSOR_REPLY = bytes.fromhex(
    "0000000000001c40" "0000000000000840"  # ids 7 and 3
    "0000000000000040" "0000000000001040"  # actions 2 and 4
)  # fmt: skip
ROWS = [[1.5, 2.5, 0.0, 7.0], [99.0, -1.0, 0.5, 3.0]]


def doubles(rows):
    table = np.asarray(rows, "<f8")
    return struct.pack("<I", table.size) + table.tobytes()


def text(rows):
    said = ";".join(",".join(map(repr, row)) for row in rows).encode()
    return b"%08d" % len(said) + said


def json_line(**lists):
    return json.dumps(lists).encode() + b"\n"


TRANSCRIPTS = {
    "predecessor": [PREDECESSOR, doubles(np.empty((0, 4))), doubles(ROWS[:1])],
    "typed": [doubles([[*row, 1.0] for row in ROWS]), doubles([[1, 2, 3, 4, 0]])],
    "lost-as-nan": [
        doubles([[1, 2, 0.1, 5, 9, NAN, 9], [NAN, NAN, NAN, 6, NAN, NAN, NAN]]),
        doubles([[NAN] * 7]),
    ],
    "labview": [text(ROWS), text([]), b"000000111,2,0.5,3\r\n"],
    "json": [
        json_line(indices=[7, 3], x=[1.5, 99], y=[2.5, -1], theta=[0, 0.5]),
        json_line(indices=[4], x=[1], y=[2], v_x=[0.0], v_y=[-2.0], types=[1], is_finished=False),
    ],
}  # fmt: skip


def everything(sightings):
    return [
        {name: np.asarray(value).tolist() for name, value in vars(s).items()} for s in sightings
    ]


def read(name, data, pieces=None):
    codec, found = make_dialect(name, MOST), []
    for piece in pieces or [data]:
        found += codec.feed(piece)
    return codec, found


def test_the_predecessors_bytes_in_and_out():
    codec, [seen] = read("predecessor", PREDECESSOR)
    np.testing.assert_array_equal(seen.position, [[1.5, 2.5], [99, -1]])
    np.testing.assert_array_equal(seen.angle, [0, 0.5])
    assert seen.identity.tolist() == [7, 3]
    assert seen.present.all()
    answer = Answer(seen.label, np.array([2, 4]), np.zeros((2, 2)))
    assert codec.reply(answer) == PREDECESSOR_REPLY
    assert codec.unread == 0


def test_the_documented_bytes_are_these():
    page = PAGE.read_text("utf-8")
    for name, data in (("PREDECESSOR", PREDECESSOR), ("PREDECESSOR REPLY", PREDECESSOR_REPLY)):
        block = re.search(rf'```text title="{name}"\n(.*?)```', page, re.S)[1]
        lines = [line.partition("|")[0] for line in block.splitlines()]
        assert bytes.fromhex("".join(lines)) == data


def test_a_fifth_column_is_the_type():
    _, [seen, other] = read("typed", b"".join(TRANSCRIPTS["typed"]))
    assert seen.type.tolist() == [1, 1]
    assert other.type.tolist() == [0]


def test_lost_colloids_are_nan_and_are_answered():
    codec, [seen, other] = read("lost-as-nan", b"".join(TRANSCRIPTS["lost-as-nan"]))
    assert seen.present.tolist() == [True, False]
    assert seen.identity.tolist() == [5, 6]
    assert other.identity.tolist() == [-1]
    reply = codec.reply(Answer(other.label, np.array([1]), np.zeros((1, 2))))
    assert np.isnan(np.frombuffer(reply)[0])
    assert np.frombuffer(reply)[1] == 1


def test_labview_text_in_and_out():
    codec, [seen, empty, last] = read("labview", b"".join(TRANSCRIPTS["labview"]))
    np.testing.assert_array_equal(seen.position, [[1.5, 2.5], [99, -1]])
    assert empty.count == 0
    assert last.identity.tolist() == [3]
    said = codec.reply(Answer(seen.label, np.array([2, 4]), np.zeros((2, 2))))
    assert said == b"\x00\x00\x00\x077,2;3,4"


def test_json_in_and_out():
    codec, [seen, other] = read("json", b"".join(TRANSCRIPTS["json"]))
    assert seen.identity.tolist() == [7, 3]
    assert seen.angle.tolist() == [0, 0.5]
    np.testing.assert_allclose(other.angle, [-np.pi / 2])
    assert other.type.tolist() == [1]
    said = codec.reply(Answer(seen.label, np.array([1, 1]), np.array([[0.5, -1], [0, 0]])))
    assert said == b'{"indices":[7,3],"f_x":[0.5,0.0],"f_y":[-1.0,0.0]}\n'


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_every_way_to_split_a_transcript_gives_the_same_sightings(name):
    """All splits in two, and 200 random ones; coalesced reads are the case without a split."""
    data = b"".join(TRANSCRIPTS[name])
    wanted = everything(read(name, data)[1])
    assert len(wanted) == len(TRANSCRIPTS[name])
    random = np.random.default_rng(7)
    splits = [[at] for at in range(len(data) + 1)] + [
        sorted(random.integers(0, len(data) + 1, random.integers(2, 40))) for _ in range(200)
    ]
    splits.append(list(range(len(data))))
    for cuts in splits:
        edges = [0, *cuts, len(data)]
        pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
        np.testing.assert_equal(everything(read(name, data, pieces)[1]), wanted)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("predecessor", struct.pack("<I", 5), "5 numbers, which are no rows of 4"),
        ("predecessor", struct.pack("<I", 2**32 - 4), "1073741823 colloids; at most 50"),
        ("predecessor", doubles([[1, 2, NAN, 3]]), "NaN in row 0 of 1.*lost-as-nan"),
        ("predecessor", doubles([[1, np.inf, 0, 3]]), "infinite number in row 0"),
        ("predecessor", doubles([[1, 2, 0, 3.5]]), "the id 3.5; it must be a whole number"),
        ("predecessor", doubles([[1, 2, 0, -3]]), "the id -3"),
        ("predecessor", doubles([[1, 2, 0, 1e300]]), "the id 1e"),
        ("predecessor", doubles([[1, 2, 0, 3], [1, 3, 0, 3]]), "the id 3 twice"),
        ("typed", doubles([[1, 2, 0, 3, NAN]]), "the type nan"),
        ("labview", b"12345 78", "8 digits"),
        ("labview", b"GET / HTTP/1.1\r\n", "8 digits"),
        ("labview", b"99999999", "99999999 bytes; at most 5000"),
        ("labview", b"00000003abc", "no table"),
        ("labview", b"000000041,2;", "rows of .2. numbers, not of 4"),
        ("labview", b"00000001\xff", "no table"),
        ("json", b"[]\n", "a JSON list, not an object"),
        ("json", b"{}\n", "has no keys; it needs indices"),
        ("json", b"x" * 20000, "more than 11000 bytes"),
        ("json", b"[" * 9000 + b"\n", "no JSON"),
        ("json", b'{"indices":[1],"x":[NaN],"y":[1],"theta":[0]}\n', "NaN is no JSON"),
        ("json", b'{"indices":[1],"x":[1e999],"y":[1],"theta":[0]}\n', "infinite"),
        ("json", b'{"indices":[1],"x":[true],"y":[1],"theta":[0]}\n', "'True', which is no number"),
        ("json", b'{"indices":[1],"x":[],"y":[1],"theta":[0]}\n', "different lengths"),
        ("json", b'{"indices":[1],"x":[1' + b"0" * 400 + b'],"y":[1],"theta":[0]}\n', "large"),
    ],
)  # fmt: skip
def test_what_a_dialect_does_not_allow_is_one_clear_error(name, data, says):
    with pytest.raises(LinkError, match=f"(?s){says}"):
        make_dialect(name, MOST).feed(data)


def test_the_end_of_a_stream_says_whether_something_was_cut():
    codec, _ = read("predecessor", PREDECESSOR)
    with pytest.raises(LinkClosedError, match=r"closed the connection\.$"):
        codec.finish()
    codec, _ = read("predecessor", PREDECESSOR[:-1])
    with pytest.raises(LinkClosedError, match="middle of a message, after 67 bytes"):
        codec.finish()
    with pytest.raises(LinkClosedError, match="has finished"):
        read("json", b'{"is_finished": true}\n')


def test_columns_can_be_named():
    codec = make_dialect("predecessor", MOST, ("id", "y", "x", "-", "theta", "type"))
    [seen] = codec.feed(doubles([[3, 2, 1, NAN, 0.5, 1]]))
    assert seen.position.tolist() == [[1, 2]]
    assert seen.identity.tolist() == [3]
    for columns in (("x", "y", "id"), ("x", "x", "y", "theta", "id"), ("x", "y", "theta", "ID")):
        with pytest.raises(ConfigError, match="column"):
            make_dialect("predecessor", MOST, columns)


def mutated(data, random):
    """A piece of a transcript with bytes changed, removed, doubled, or noise in its place."""
    kind = random.integers(5)
    if kind == 0:
        return random.bytes(int(random.integers(0, 200)))
    body = bytearray(data)
    if kind == 1:
        for _ in range(random.integers(1, 6)):
            body[random.integers(len(body))] = random.integers(256)
    elif kind == 2:
        del body[random.integers(len(body)) :]
    elif kind == 3:
        at = random.integers(len(body))
        body[at:at] = random.bytes(int(random.integers(1, 9)))
    else:
        start = random.integers(len(body))
        body = body[start:] + body[:start]
    return bytes(body)


def test_ten_thousand_fuzzed_streams_end_in_sightings_or_a_link_error():
    """Nothing else is raised, and no more than a few messages' bytes are ever kept."""
    random, names = np.random.default_rng(11), sorted(TRANSCRIPTS)
    whole = {name: b"".join(TRANSCRIPTS[name]) for name in names}
    sightings = errors = 0
    for name in names:  # what is made once does not count
        with pytest.raises(LinkClosedError):
            read(name, whole[name])[0].finish()
    tracemalloc.start()
    try:
        for count in range(10_000):
            name = names[count % len(names)]
            data, codec = mutated(whole[name], random), make_dialect(name, MOST)
            cut = int(random.integers(0, len(data) + 1))
            try:
                sightings += len(codec.feed(data[:cut])) + len(codec.feed(data[cut:]))
                codec.finish()
            except LinkError:
                errors += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert errors == 10_000, "every stream ends, and its end is an error that says how"
    assert sightings > 1000
    assert peak < 1e6, f"{peak} bytes"


def test_no_dialect_is_left_out():
    assert DIALECTS.keys() == TRANSCRIPTS.keys() | {"zmq"}
