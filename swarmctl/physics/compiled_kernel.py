"""The plain case of `motion` as machine code for CPUs, through numba: one control interval.

Contacts come from lists of all neighbours within the contact distance plus a skin. The forces on a
sphere are added in the order of its neighbours' indices, so that results depend neither on the age
of a list nor on the number of threads.
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import carray

from swarmctl.physics.compiled_base import (
    ARGUMENTS,
    AXES,
    BLOCKS,
    CELLS,
    CHUNK,
    CONTACTS,
    COUNT,
    DATA,
    DIVERGED,
    FAR,
    FIELDS,
    FLAGS,
    GATE,
    GIVEN,
    HARD,
    HEADER,
    HEADER_WORDS,
    KEY,
    LANES,
    LONGEST_SKIN,
    MOST_TEAMS,
    NEXT,
    OVERLAPS,
    RESULTS,
    SEEDS,
    SITES,
    SIZE,
    SORTED,
    STEPS,
    STRIDE,
    SWARMS,
    TEAM,
    TEAM_WORDS,
    TEAMS,
    THERMAL,
    THREADS,
    TICKET,
    TIME_STEP,
    TOUCHING,
    array,
    box_axis,
    fast,
    fetch,
    fetch_add,
    free,
    i64,
    malloc,
    own_thread,
    pointer,
    pthread_create,
    pthread_join,
    sched_yield,
    store,
    u32,
    wait,
    worker_address,
)
from swarmctl.physics.compiled_lists import (
    bounds,
    list_pairs,
    push_pairs,
    scratch_room,
    sort_into_cells,
)
from swarmctl.physics.compiled_motion import (
    finish,
    load,
    push_from_faces,
    seed,
    update_plane,
    update_space,
)


@fast
def advance(job, address, swarm, slot, size, rank, rounds, desk, lists, room, real, width, axes):
    """One control interval of a swarm; returns the number of the last barrier, and the lists."""
    header = carray(pointer(job[DATA + HEADER]), HEADER_WORDS, np.int64)
    count, dimension = header[COUNT], len(axes)
    blocks_of_all = (count + LANES - 1) // LANES
    low = blocks_of_all * rank // size * LANES
    high = min(count, blocks_of_all * (rank + 1) // size * LANES)
    team = address + 8 * (TEAMS + TEAM_WORDS * slot)
    blocks = job[BLOCKS] + slot * (blocks_of_all * LANES * FIELDS * width)
    sites = job[SITES] + slot * ((blocks_of_all + 1) * LANES * dimension * width)
    seeds = job[SEEDS] + slot * (blocks_of_all * LANES * (dimension - 1) * 4)
    scratch = job[CELLS] + slot * job[SORTED]
    flags = carray(pointer(job[DATA + HEADER] + 8 * AXES), 3, np.int64)
    lengths = array(job, SIZE, swarm, dimension, real)
    hard = False
    for axis in range(dimension):
        hard |= flags[axis] == HARD
    if dimension == 2:
        box = (box_axis(lengths, flags, 0, real), box_axis(lengths, flags, 1, real))
    else:
        box = (
            box_axis(lengths, flags, 0, real),
            box_axis(lengths, flags, 1, real),
            box_axis(lengths, flags, 2, real),
        )
    thermal = array(job, THERMAL, swarm, 1, real)[0]
    given = array(job, GIVEN, swarm, 1, real)[0]
    key = array(job, KEY, swarm, 2, np.uint32)
    c, d = seed(key[0]), seed(key[1])
    dt = array(job, TIME_STEP, swarm, 1, real)[0]
    contacts, steps = header[CONTACTS] != 0, header[STEPS]
    load(job, swarm, blocks, sites, seeds, low, high, real, width, axes)
    skin, limit, cutoff, total = real(0), real(0), real(0), i64(0)
    if contacts:
        rounds += 1
        wait(team, size, rounds)
        radius, speed, shake = bounds(blocks, count, dimension, real, width)
        expected = speed * dt * steps + real(5) * shake * np.sqrt(real(steps))
        skin = radius * min(real(2 * LONGEST_SKIN), max(real(0.05), real(2) * expected / radius))
        limit = (real(0.499) * skin) ** 2
        cutoff = real(1.001) * (real(2) * radius + skin)
    rebuild, overlap = True, False
    for step in range(steps):
        if contacts:
            if rebuild:
                rounds = sort_into_cells(
                    team,
                    size,
                    rank,
                    rounds,
                    scratch,
                    blocks,
                    sites,
                    low,
                    high,
                    count,
                    cutoff,
                    box,
                    flags,
                    desk,
                    real,
                    width,
                )
                total = list_pairs(
                    scratch, size, rank, count, skin, box, desk, lists, room, real, width
                )
                while total < 0:
                    free(lists)
                    room = -total
                    lists = malloc(room * (8 + width))
                    total = list_pairs(
                        scratch, size, rank, count, skin, box, desk, lists, room, real, width
                    )
            overlap |= push_pairs(
                lists, room, total, desk, sites, blocks, box, thermal, given, real, width
            )
            rounds += 1
            wait(team, size, rounds)
        if hard:
            overlap |= push_from_faces(job, swarm, blocks, low, high, real, width, axes)
        words = (seed(u32(step)), c, d)
        if dimension == 2:
            far = update_plane(blocks, sites, seeds, low, high, words, dt, real, width, limit)
        else:
            far = update_space(blocks, sites, seeds, low, high, words, dt, real, width, limit)
        if contacts:
            if far:
                store(team + 8 * FAR, step + 1)
            rounds += 1
            wait(team, size, rounds)
            rebuild = fetch(team + 8 * FAR) == step + 1
    finite = finish(job, swarm, blocks, low, high, real, width, axes)
    # Each thread adds its word: bit 0 for overlap, bits from 16 for what is not finite.
    fetch_add(team + 8 * FLAGS, i64(overlap) + (i64(not finite) << 16))
    rounds += 1
    wait(team, size, rounds)
    if rank == 0:
        word = fetch(team + 8 * FLAGS)
        array(job, OVERLAPS, swarm, 1, np.uint8)[0] = np.uint8((word & 0xFFFF) != 0)
        array(job, DIVERGED, swarm, 1, np.uint8)[0] = np.uint8((word >> 16) != 0)
        store(team + 8 * FLAGS, 0)
        store(team + 8 * FAR, 0)
    rounds += 1
    wait(team, size, rounds)
    return rounds, lists, room


@fast
def work(address, real, width, axes):
    """What each thread does: alone with one swarm after another, or in a team with every swarm."""
    job = carray(pointer(address), TEAMS, np.int64)
    header = carray(pointer(job[DATA + HEADER]), HEADER_WORDS, np.int64)
    me = fetch_add(address + 8 * TICKET, 1)
    while fetch(address + 8 * GATE) == 0:  # until the number of threads is known
        sched_yield()
    size = fetch(address + 8 * GATE)
    slot, rank = (me, i64(0)) if size == 1 else (i64(0), me)
    room = 4 * header[COUNT] // size + 64
    lists = malloc(room * (8 + width))
    desk = malloc(8 * (TOUCHING + CHUNK + 1))
    rounds, swarm = i64(0), i64(-1)
    while True:
        swarm = fetch_add(address + 8 * NEXT, 1) if size == 1 else swarm + 1
        if swarm >= header[SWARMS]:
            break
        rounds, lists, room = advance(
            job, address, swarm, slot, size, rank, rounds, desk, lists, room, real, width, axes
        )
    free(lists)
    free(desk)


def worker_2_f32(address):
    """A thread."""
    work(address, np.float32, 4, (0, 0))
    return 0


def worker_3_f32(address):
    """A thread."""
    work(address, np.float32, 4, (0, 0, 0))
    return 0


def worker_2_f64(address):
    """A thread."""
    work(address, np.float64, 8, (0, 0))
    return 0


def worker_3_f64(address):
    """A thread."""
    work(address, np.float64, 8, (0, 0, 0))
    return 0


@fast
def serve(frame, worker, dimension, width):
    """Handle a call of XLA (xla/ffi/api/c_api.h): share the job among threads."""
    call = carray(pointer(frame), 15, np.int64)
    if call[1] != 0:  # XLA asks for the version of the interface
        metadata = carray(pointer(call[1]), 4, np.int64)[3]
        version = carray(pointer(metadata + 24), 2, np.int32)
        version[0], version[1] = np.int32(0), np.int32(1)
        return
    job = np.zeros(TEAMS + TEAM_WORDS * MOST_TEAMS, np.int64)
    address = job.ctypes.data
    for group, (number, first) in enumerate(((ARGUMENTS, 9), (RESULTS, 14))):
        buffers = carray(pointer(call[first]), number, np.int64)
        for n in range(number):
            buffer = carray(pointer(buffers[n]), 6, np.int64)
            extents = carray(pointer(buffer[5]), buffer[4], np.int64)
            which = n + ARGUMENTS * group
            job[DATA + which] = buffer[3]
            kind = i64(buffer[2] & 0xFFFFFFFF)
            stride = i64(1) if kind == 1 else (i64(4) if kind == 4 or kind == 8 else width)
            for e in range(1, buffer[4]):
                stride *= extents[e]
            job[STRIDE + which] = stride if extents[0] > 1 else 0
    header = carray(pointer(job[DATA + HEADER]), HEADER_WORDS, np.int64)
    count, threads, size = header[COUNT], header[THREADS], header[TEAM]
    slots = threads if size == 1 else 1
    lanes = (count + LANES - 1) // LANES * LANES
    room = (scratch_room(count, size, dimension, width) + 63) // 64 * 64
    blocks = np.empty(slots * lanes * FIELDS * width + 64, np.uint8)
    sites = np.empty(slots * (lanes + LANES) * dimension * width + 64, np.uint8)
    seeds = np.empty(slots * lanes * (dimension - 1) * 4 + 64, np.uint8)
    cells = np.empty(slots * room + 64, np.uint8)
    job[BLOCKS] = (blocks.ctypes.data + 63) // 64 * 64
    job[SITES] = (sites.ctypes.data + 63) // 64 * 64
    job[SEEDS] = (seeds.ctypes.data + 63) // 64 * 64
    job[CELLS] = (cells.ctypes.data + 63) // 64 * 64
    job[SORTED] = room
    names = np.zeros(threads, np.int64)
    started = 0
    for t in range(1, threads):
        failed = pthread_create(
            pointer(names.ctypes.data + 8 * t), pointer(0), pointer(worker), pointer(address)
        )
        if failed:
            break
        started += 1
    store(address + 8 * GATE, 1 if size == 1 else started + 1)
    own_thread(worker, address)
    for t in range(1, started + 1):
        pthread_join(names[t], pointer(0))
    # The memory is in use until here.
    blocks[0] = sites[0] = seeds[0] = cells[0] = np.uint8(job[TICKET] & 1)


def entry_2_f32(frame):
    """What XLA calls."""
    serve(frame, worker_address("2_f32"), 2, 4)
    return 0


def entry_3_f32(frame):
    """What XLA calls."""
    serve(frame, worker_address("3_f32"), 3, 4)
    return 0


def entry_2_f64(frame):
    """What XLA calls."""
    serve(frame, worker_address("2_f64"), 2, 8)
    return 0


def entry_3_f64(frame):
    """What XLA calls."""
    serve(frame, worker_address("3_f64"), 3, 8)
    return 0
