"""Peers that vanish, dawdle, say nothing or talk rubbish: short waits, clear errors, no hang."""

import contextlib
import itertools
import socket
import struct
import time
import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.command import Command
from swarmctl.core.errors import (
    LinkClosedError,
    LinkError,
    LinkTimeoutError,
    SwarmctlError,
)
from swarmctl.core.world import Box, Species, World
from swarmctl.engines.link.config import LinkConfig
from swarmctl.engines.link.dialects import make_dialect
from swarmctl.engines.link.engine import LinkEngine
from swarmctl.engines.link.frames import FrameReader, FrameWriter, Kind, read_text
from swarmctl.engines.link.laboratory import Laboratory, describe_laboratory, state_rows
from swarmctl.engines.link.streams import TcpStream
from swarmctl.engines.link.talks import FramedTalk, LockstepTalk, describe_controller

INTERVAL = 0.1
WORLD = World(Box((40.0, 40.0), "open"), species=(Species("a", 2, speed_max=3.0),))
REST = Command(speed=jnp.zeros(2), turn_rate=jnp.zeros(2))
STATE = struct.pack("<I8d", 8, 1, 2, 0, 0, 3, 4, 0, 1)
ROWS = state_rows(np.arange(2), np.ones((2, 2)), np.zeros(2))
SHORT = {
    "connect_timeout": 5.0,
    "state_timeout": 1.0,
    "send_timeout": 0.5,
    "stop_timeout": 0.5,
    "silence": 0.7,
}


@pytest.fixture
def link(beside):
    """Return (engine of a protocol, start): `start(peer)` runs peer(socket) at the other end."""
    with contextlib.ExitStack() as stack:

        def make(protocol, **options):
            engine = LinkEngine(WORLD, INTERVAL, protocol=protocol, port=0, **{**SHORT, **options})
            stack.callback(engine.close)
            address = engine.open()

            def start(peer):
                def run():
                    with socket.create_connection(address, 5) as line:
                        line.settimeout(5)
                        with contextlib.suppress(OSError):
                            peer(line)

                beside(run)

            return engine, start

        yield make


def until_closed(line):
    """Read whatever comes, until the end."""
    while line.recv(4096):
        pass


def quick(function, most=8.0):
    """Run a function and return (what it raised or None, what it returned); it must be quick."""
    started, raised, result = time.monotonic(), None, None
    try:
        result = function()
    except SwarmctlError as error:
        raised = error
    assert time.monotonic() - started < most
    return raised, result


def test_a_laboratory_that_closes_at_once(link):
    engine, start = link("predecessor")
    start(lambda line: None)
    raised, _ = quick(lambda: engine.reset(0))
    assert isinstance(raised, LinkClosedError)
    with pytest.raises(SwarmctlError, match="reset"):
        engine.step(REST)


def test_a_laboratory_that_closes_between_steps_is_a_fault_and_another_may_come(link):
    engine, start = link("predecessor")

    def once(line):
        line.sendall(STATE)
        line.recv(32)

    for _ in range(2):
        start(once)
        before = engine.reset(0)
        _, result = quick(lambda: engine.step(REST))
        assert "the laboratory closed the connection" in result.status.fault
        np.testing.assert_array_equal(result.state.position, before.position)
        assert result.state.present.all()
        assert int(result.state.step) == 1
        with pytest.raises(SwarmctlError, match="after a fault"):
            engine.step(REST)


def test_a_laboratory_that_vanishes_in_the_middle_of_a_state(link):
    engine, start = link("predecessor")
    start(lambda line: line.sendall(STATE[:30]))
    raised, _ = quick(lambda: engine.reset(0))
    assert "middle of a message, after 30 bytes" in str(raised)


def test_a_broken_connection(link):
    engine, start = link("predecessor")

    def reset_connection(line):
        line.sendall(STATE)
        line.recv(32)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    start(reset_connection)
    engine.reset(0)
    _, result = quick(lambda: engine.step(REST))
    assert "broke" in result.status.fault


def test_a_silent_laboratory(link):
    engine, start = link("predecessor")
    start(until_closed)
    raised, _ = quick(lambda: engine.reset(0))
    assert isinstance(raised, LinkTimeoutError)
    assert "1 s (0 bytes of one did" in str(raised)


def test_a_laboratory_that_trickles_is_not_waited_for_byte_by_byte(link):
    """Bytes that keep coming do not postpone the deadline of the whole state."""
    engine, start = link("predecessor")

    def trickle(line):
        for byte in STATE:
            line.sendall(bytes([byte]))
            time.sleep(0.05)

    start(trickle)
    raised, _ = quick(lambda: engine.reset(0))
    assert isinstance(raised, LinkTimeoutError)


def test_a_laboratory_that_trickles_in_time_is_understood(link):
    engine, start = link("predecessor", state_timeout=10.0)

    def trickle(line):
        for byte in STATE:
            line.sendall(bytes([byte]))
            time.sleep(0.001)
        until_closed(line)

    start(trickle)
    assert engine.reset(0).present.all()


def test_a_peer_that_never_reads():
    """What does not fit into the buffers of the network is not waited for beyond its time."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = socket.create_connection(server.getsockname())
        stream = TcpStream(server.accept()[0])
        raised, _ = quick(lambda: stream.send(bytes(1 << 27), 0.3))
        assert isinstance(raised, LinkTimeoutError)
        assert "read too slowly for 0.3 s" in str(raised)
        stream.close()
        line.close()


@pytest.mark.parametrize("early", [STATE, STATE[:7]], ids=["whole", "half"])
@pytest.mark.parametrize("apart", [0.0, 0.1], ids=["coalesced", "apart"])
def test_strict_lockstep(link, early, apart):
    """A state before the answer to the last is refused, however it comes."""
    engine, start = link("predecessor")

    def hasty(line):
        line.sendall(STATE if apart else STATE + early)
        if apart:
            time.sleep(apart)
            line.sendall(early)
        until_closed(line)

    start(hasty)

    def run():
        engine.reset(0)
        time.sleep(2 * apart)
        raise LinkError(engine.step(REST).status.fault)

    raised, _ = quick(run)
    assert "strictly one state, one answer" in str(raised)


def test_rubbish_costs_no_memory(link):
    """Megabytes of noise are refused after the first piece."""
    engine, start = link("predecessor")
    noise = np.random.default_rng(1).bytes(1 << 16)

    def shout(line):
        for _ in range(64):
            line.sendall(noise)

    start(shout)
    tracemalloc.start()
    raised, _ = quick(lambda: engine.reset(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(raised, LinkError)
    assert peak < 2e6, f"{peak} bytes"


def test_a_huge_announcement_is_refused_before_anything_is_kept(link):
    engine, start = link("predecessor")
    start(lambda line: (line.sendall(struct.pack("<I", 2**32 - 4)), until_closed(line)))
    raised, _ = quick(lambda: engine.reset(0))
    assert "1073741823 colloids; at most 1000" in str(raised)


def test_nobody_comes():
    engine = LinkEngine(WORLD, INTERVAL, port=0, connect_timeout=0.2)
    raised, _ = quick(lambda: engine.reset(0))
    assert "nobody connected to 127.0.0.1" in str(raised)
    engine.close()
    raised, _ = quick(lambda: LinkEngine(WORLD, port=1, listen=False, connect_timeout=0.2).reset(0))
    assert "nobody answers on 127.0.0.1 port 1" in str(raised)


def test_a_port_that_is_taken():
    with contextlib.closing(LinkEngine(WORLD, port=0)) as engine:
        _, port = engine.open()
        with pytest.raises(LinkError, match=f"port {port}.*choose another"):
            LinkEngine(WORLD, port=port).reset(0)


def test_the_server_is_on_loopback_unless_told_otherwise():
    with contextlib.closing(LinkEngine(WORLD, port=0)) as engine:
        assert engine.open()[0] == "127.0.0.1"


@pytest.mark.parametrize("protocol", ["predecessor", "labview", "json", "framed"])
def test_fuzzed_streams_over_sockets_end_at_once(protocol):
    """500 streams each, through the conversation that the engine has; what it answers is read."""
    random, config = np.random.default_rng(9), LinkConfig(protocol=protocol, **SHORT)
    about = describe_controller(frozenset({"speed"}), 2, INTERVAL, config)
    hello = describe_laboratory(frozenset({"speed"}), 2, INTERVAL).pack()
    good = {
        "predecessor": STATE,
        "labview": b"000000111,2,0.5,3;",
        "json": b'{"indices":[1],"x":[1],"y":[2],"theta":[0]}\n',
        "framed": FrameWriter().frame(Kind.HELLO, hello, 0.0)[0],
    }[protocol]

    def one(stream):
        if protocol == "framed":
            return FramedTalk(stream, about, config, lambda peer: None).start(0)
        return LockstepTalk(stream, make_dialect(protocol, 50), config).start(0)

    started, errors = time.monotonic(), 0
    server = socket.create_server(("127.0.0.1", 0))
    for _ in range(500):
        body = bytearray(good)
        for _ in range(random.integers(0, 4)):
            body[random.integers(len(body))] = random.integers(256)
        theirs = socket.create_connection(server.getsockname())
        theirs.sendall(body[: random.integers(len(body) + 1)])
        theirs.shutdown(socket.SHUT_WR)
        stream = TcpStream(server.accept()[0])
        try:
            one(stream)
        except LinkError:
            errors += 1
        finally:
            stream.close()
            theirs.close()
    server.close()
    assert errors > 100
    assert time.monotonic() - started < 30, "a stream that has ended is not waited for"


# The framed protocol


class Peer:
    """A framed laboratory by hand: says frames, keeps what it hears."""

    def __init__(self, line, interval=INTERVAL, channels=("speed", "turn_rate"), hello=True):
        self.line, self.writer, self.reader = line, FrameWriter(), FrameReader(1000)
        self.frames = []
        if hello:
            about = describe_laboratory(frozenset(channels), 2, interval, "by hand")
            self.say(Kind.HELLO, about.pack())

    def say(self, kind, payload=b""):
        self.line.sendall(self.writer.frame(kind, payload, time.time())[0])

    def hear(self, kind):
        """The next frame of a kind; others are skipped."""
        while True:
            for at, frame in enumerate(self.frames):
                if frame.kind == kind:
                    del self.frames[: at + 1]
                    return frame
            data = self.line.recv(4096)
            if not data:
                raise ConnectionError
            self.frames += self.reader.feed(data)

    def state(self, answered, at=1.0):
        head = struct.pack("<dQII", at, answered, 0, len(ROWS))
        self.say(Kind.STATE, head + ROWS.tobytes())


@pytest.mark.parametrize(
    ("peer", "says"),
    [
        (lambda line: line.sendall(b"GET / HTTP/1.1\r\n\r\n"), "does not speak"),
        (lambda line: until_closed(line), "silent for"),
        (lambda line: Peer(line, interval=0.2) and until_closed(line), "every 0.2 s.*every 0.1 s"),
        (lambda line: Peer(line, channels=("power",)) and until_closed(line), "not take speed"),
        (lambda line: Peer(line, hello=False).state(0), "began with STATE"),
    ],
    ids=["http", "silent", "interval", "channels", "no hello"],
)  # fmt: skip
def test_a_peer_that_is_no_laboratory_of_ours_is_refused(link, peer, says):
    engine, start = link("framed")
    start(lambda line: (peer(line), until_closed(line)))
    with pytest.raises(LinkError, match=says):
        engine.reset(0)


def test_two_controllers_do_not_talk(link):
    engine, start = link("framed")

    def controller(line):
        peer = Peer(line, hello=False)
        hello = peer.hear(Kind.HELLO)
        peer.say(Kind.HELLO, hello.payload)
        until_closed(line)

    start(controller)
    with pytest.raises(LinkError, match="both sides are controller"):
        engine.reset(0)


def answers(then):
    """A framed laboratory that starts an episode and, at the first command, does `then`."""

    def peer(line):
        hand = Peer(line)
        hand.state(hand.hear(Kind.START).sequence)
        then(hand, hand.hear(Kind.COMMAND).sequence)
        until_closed(line)

    return peer


def chatter(hand, number):
    """Heartbeats for ever, and no state."""
    with contextlib.suppress(OSError):
        while True:
            hand.say(Kind.HEARTBEAT)
            time.sleep(0.02)


@pytest.mark.parametrize(
    ("then", "says"),
    [
        (lambda hand, number: hand.state(number + 5, 2.0), "answers frame"),
        (lambda hand, number: hand.state(number, 0.5), "clock went on by -0.5"),
        (lambda hand, number: hand.say(Kind.FAULT, b"laser off"), "a fault: laser off"),
        (lambda hand, number: hand.say(Kind.BYE, b"lunch"), "good-bye: lunch"),
        (lambda hand, number: hand.say(Kind.SAFE, b""), "SAFE where STATE is due"),
        (lambda hand, number: hand.say(Kind.COMMAND, bytes(16)), "does not send COMMAND"),
        (lambda hand, number: hand.line.sendall(b"\0" * 99), "does not speak"),
        (lambda hand, number: None, "silent for"),
        (chatter, "no STATE came within 1 s"),
        (lambda hand, number: hand.line.close(), "closed|broke"),
    ],
    ids=["number", "clock", "fault", "bye", "safe", "command", "rubbish", "silent", "chatter",
         "closed"],
)  # fmt: skip
def test_what_goes_wrong_in_a_step_is_its_fault(link, then, says):
    engine, start = link("framed")
    start(answers(then))
    engine.reset(0)
    raised, result = quick(lambda: engine.step(REST))
    assert raised is None
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(result.status.fault)


def test_stop_close_and_faults_tell_the_laboratory_to_be_safe(link):
    heard = []

    def peer(line):
        hand = Peer(line)
        hand.state(hand.hear(Kind.START).sequence)
        heard.append(read_text(hand.hear(Kind.STOP).payload))
        hand.say(Kind.SAFE, b"")
        hand.state(hand.hear(Kind.START).sequence, 3.0)
        hand.hear(Kind.COMMAND)
        hand.say(Kind.SAFE, b"")  # out of turn
        heard.append(read_text(hand.hear(Kind.STOP).payload))
        heard.append(read_text(hand.hear(Kind.BYE).payload))

    engine, start = link("framed")
    start(peer)
    engine.reset(0)
    engine.stop("tea")
    with pytest.raises(SwarmctlError, match="reset"):
        engine.step(REST)
    engine.reset(0)
    assert "SAFE" in engine.step(REST).status.fault
    engine.close()
    for _ in range(50):
        if len(heard) == 3:
            break
        time.sleep(0.02)
    assert heard[0] == "tea"
    assert "SAFE" in heard[1]
    assert len(heard) == 3


def test_a_stop_that_nobody_confirms_is_an_error_and_ends_the_connection(link):
    engine, start = link("framed", silence=5.0)
    start(answers(lambda hand, number: hand.state(number, 2.0)))
    engine.reset(0)
    engine.step(REST)
    raised, _ = quick(lambda: engine.stop("enough"))
    assert isinstance(raised, LinkTimeoutError)
    assert "by hand" in str(raised)
    engine.stop("again, with nobody there")


# The reference client


def laboratory_in(beside, address, act, safe, silence=10.0, errors=None):
    def run():
        about = describe_laboratory(frozenset({"speed", "turn_rate"}), 2, INTERVAL, silence=silence)
        try:
            with Laboratory.connect(
                *address, about, lambda: safe.append(time.monotonic()), 5
            ) as it:
                while (order := it.wait()) is not None:
                    act(it, order)
        except LinkError as error:
            if errors is None:
                raise
            errors.append(error)

    return beside(run)


def test_a_command_expires_and_the_next_state_says_so(beside):
    clock, safe, sent = itertools.count(1), [], []

    def act(it, order):
        if order.command is not None:
            sent.append(time.monotonic())
            it.pause(1.5)
        it.send_state(next(clock), ROWS)

    engine = LinkEngine(WORLD, INTERVAL, port=0, expiry=0.3, silence=10.0)
    laboratory_in(beside, engine.open(), act, safe)
    with contextlib.closing(engine):
        engine.reset(0)
        assert engine.step(REST).status.info["expired"]
    assert 0.25 < safe[0] - sent[0] < 1.4


def test_the_client_is_safe_when_the_controller_stops_or_vanishes(beside):
    clock, safe, errors = itertools.count(1), [], []

    def act(it, order):
        it.send_state(next(clock), ROWS)

    engine = LinkEngine(WORLD, INTERVAL, port=0)
    thread = laboratory_in(beside, engine.open(), act, safe, errors=errors)
    engine.reset(0)
    engine.stop("tea")
    assert len(safe) == 1, "before stop returns"
    engine.reset(0)
    engine._talk._session._stream.close()  # no good-bye
    thread.join(5)
    assert len(safe) > 1
    engine.close()


def test_the_client_takes_a_silent_controller_for_gone(beside):
    safe, errors, clock = [], [], itertools.count(1)

    def act(it, order):
        it.send_state(next(clock), ROWS)

    engine = LinkEngine(WORLD, INTERVAL, port=0)
    thread = laboratory_in(beside, engine.open(), act, safe, 0.7, errors)
    engine.reset(0)
    thread.join(5)
    assert "silent for" in str(errors[0])
    assert safe
    assert engine.step(REST).status.fault
    engine.close()


def test_a_stop_during_a_pause_ends_it(beside):
    safe, ended = [], []

    def act(it, order):
        if order.command is None:
            it.send_state(1.0, ROWS)
            return
        it.pause(30.0)
        ended.append(it.send_state(2.0, ROWS))

    engine = LinkEngine(WORLD, INTERVAL, port=0, state_timeout=1.0, silence=5.0)
    laboratory_in(beside, engine.open(), act, safe)
    engine.reset(0)
    assert "no STATE came" in engine.step(REST).status.fault
    for _ in range(100):
        if ended:
            break
        time.sleep(0.02)
    assert ended == [False]
    assert safe
    engine.close()
