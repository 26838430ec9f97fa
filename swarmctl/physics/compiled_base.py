"""What the compiled kernel is made of: its layout in memory, atomic words, threads.

Particles lie in blocks [field, lane] of LANES, so that LLVM turns loops over lanes into vector
instructions.
"""

# mypy: ignore-errors

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils, errors
from numba.extending import intrinsic

LANES = 16
CHUNK = 2048
"""Pairs that are tested at a time."""
LONGEST_SKIN = 0.3
"""Thickest skin of the neighbour lists, in largest diameters."""
MIN_CELLS = 64
"""With fewer particles all pairs are tested when a list is built."""
DEEPEST, OVERLAP = 0.3, 0.7  # as in contacts.py

# Arguments and results of the custom call, in order.
(
    HEADER, KEY, POSITION, IMAGE, REMAINDER, DIRECTOR, SPEED, VELOCITY, TURN_RATE, TIME_STEP, SIZE,
    THERMAL, GIVEN, RADIUS, PUSH, MOBILITY, SHAKE, TWIST,
) = range(18)  # fmt: skip
ARGUMENTS = 18
(
    NEW_POSITION, NEW_IMAGE, NEW_REMAINDER, NEW_DIRECTOR, DISPLACEMENT, ROTATION, OVERLAPS,
    DIVERGED,
) = range(18, 26)  # fmt: skip
RESULTS = 8

# Words of the header (i64).
HEADER_WORDS = 16
COUNT, SWARMS, STEPS, CONTACTS, THREADS, TEAM, AXES = range(7)
PERIODIC, HARD = 1, 2

# Words of a job (i64), which all threads share: data, strides, scratch, counters.
DATA, STRIDE, BLOCKS, SITES, SEEDS, CELLS, SORTED, TICKET, NEXT, GATE, TEAMS = (
    0, 26, 52, 53, 54, 55, 56, 57, 58, 59, 64,
)  # fmt: skip
BARRIER, FAR, FLAGS, TEAM_WORDS = 0, 8, 16, 24  # words of a team, each on its own cache line

MOST_TEAMS = 64

# Words of a thread's desk (i64 or f64).
SHAPE, EDGES, SPANS, TOUCHING = 0, 3, 8, 48
MOST_SPANS = 18

# Fields of a block; vectors have three.
F_START, F_MOVED, F_DIRECTOR, F_FORCE, F_VELOCITY, F_TURN, F_TURNED, F_BUILT = range(0, 24, 3)
F_SPEED, F_MOBILITY, F_SHAKE, F_TWIST, F_RADIUS, F_PUSH, FIELDS = range(24, 31)

u32, i64 = np.uint32, np.int64
# Only machine code calls these: without wrappers for Python they compile a third faster.
fast = numba.njit(
    error_model="numpy", fastmath={"contract"}, no_cpython_wrapper=True, no_cfunc_wrapper=True
)


@intrinsic
def pointer(typing_context, address):
    """Turn an address into a pointer."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


@intrinsic
def fetch_add(typing_context, address, value):
    """Add to a word that threads share; returns what it was."""

    def generate(context, builder, signature, arguments):
        word = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", word, arguments[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


@intrinsic
def fetch(typing_context, address):
    """Read a word that threads share, and all that was written before it."""

    def generate(context, builder, signature, arguments):
        word = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.load_atomic(word, "acquire", 8)

    return types.int64(types.int64), generate


@intrinsic
def store(typing_context, address, value):
    """Write a word that threads share, after all that was written before."""

    def generate(context, builder, signature, arguments):
        word = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        builder.store_atomic(arguments[1], word, "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


pthread_create = types.ExternalFunction(
    "pthread_create", types.int32(types.voidptr, types.voidptr, types.voidptr, types.voidptr)
)
pthread_join = types.ExternalFunction("pthread_join", types.int32(types.int64, types.voidptr))
malloc = types.ExternalFunction("malloc", types.int64(types.int64))
free = types.ExternalFunction("free", types.void(types.int64))
sched_yield = types.ExternalFunction("sched_yield", types.int32())


@intrinsic
def lowest_bit(typing_context, word):
    """Number of the lowest bit that is set."""

    def generate(context, builder, signature, arguments):
        bit = builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))
        return builder.zext(bit, ir.IntType(64))

    return types.int64(types.uint32), generate


@fast
def wait(team, size, rounds):
    """Wait until all threads of the team have come to their barrier number `rounds`."""
    if size == 1:
        return
    fetch_add(team + 8 * BARRIER, 1)
    spins = 0
    while fetch(team + 8 * BARRIER) < size * rounds:
        spins += 1
        if spins > 2000:
            sched_yield()


@fast
def array(job, which, swarm, shape, kind):
    """The part of an argument or a result that belongs to a swarm."""
    return carray(pointer(job[DATA + which] + swarm * job[STRIDE + which]), shape, kind)


@fast
def block_at(blocks, k, real, width):
    """Block number k as an array [field, lane]."""
    return carray(pointer(blocks + k * (FIELDS * LANES) * width), (FIELDS, LANES), real)


@intrinsic
def worker_address(typing_context, kind):
    """Address of the worker of a kind, which the linker knows as swarmctl_worker_<kind>."""
    if not isinstance(kind, types.StringLiteral):
        raise errors.RequireLiteralValue("kind")
    name = f"swarmctl_worker_{kind.literal_value}"

    def generate(context, builder, signature, arguments):
        function_type = ir.FunctionType(ir.IntType(64), [ir.IntType(64)])
        function = cgutils.get_or_insert_function(builder.module, function_type, name)
        return builder.ptrtoint(function, ir.IntType(64))

    return types.int64(kind), generate


@intrinsic
def own_thread(typing_context, worker, address):
    """Call a worker by its address."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.IntType(64), [ir.IntType(64)])
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        return builder.call(function, [arguments[1]])

    return types.int64(types.int64, types.int64), generate


@fast
def box_axis(lengths, flags, axis, real):
    """Length of an axis and its inverse, which is 0 unless the axis is periodic."""
    return lengths[axis], real(1) / lengths[axis] if flags[axis] == PERIODIC else real(0)


@fast
def separation(a, b, length, inverse):
    """The component a - b of the shortest way; an axis that is not periodic has inverse 0."""
    d = a - b
    return d - length * np.rint(d * inverse)
