"""A loop in a process of its own, to be stopped, killed and hung by tests.

python loop_process.py FOLDER FAULT: prints "active" once it drives, then has its fault.
"""

import ctypes
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from conftest import Bench


def main():
    folder, fault = Path(sys.argv[1]), sys.argv[2]
    bench = Bench(folder)
    client = bench.start()
    bench.drive(0.1)
    print("active", client.process, flush=True)
    end = time.monotonic() + (0.1 if fault else 60.0)
    while time.monotonic() < end:
        client.send(bench.order())
        time.sleep(0.01)
        client.receipts()
    print("fault", time.monotonic(), flush=True)
    if fault == "exception":
        raise RuntimeError("the loop fails")
    if fault == "exit":
        os._exit(0)
    if fault == "held interpreter lock":
        ctypes.PyDLL(None).usleep(600_000)  # no other thread of this process runs meanwhile
        print(client.report().standing.name, flush=True)
        os._exit(0)


if __name__ == "__main__":
    main()
