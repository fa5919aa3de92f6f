"""What the kernel's memory for sockets does to a client that falls behind: two sockloads in turn.

    python3 pressure.py OLD_SOCKLOAD NEW_SOCKLOAD SOCKLOOP > pressure.jsonl

Each round starts a sockloop on CPU 0 and loads it from CPU 1 at 150, 250, 400 and again 150 million messages a second
with 2000 connections, with each sockload. A line has the trial, and what the kernel's counters (TcpExt in
/proc/net/netstat) rose by meanwhile: how often it was short of memory, segments that it dropped, and timeouts.
"""

import json
import subprocess
import sys
import time

ADDR = "127.0.0.1:18080"
RATES = ["150000000", "250000000", "400000000", "150000000"]


def counters():
    names, values = open("/proc/net/netstat").read().split("\n")[:2]
    all_ = dict(zip(names.split(), values.split()))
    return {n: int(all_[n]) for n in ("TCPMemoryPressures", "TCPRcvQDrop", "TCPTimeouts")}


def trial(sockload, rate):
    out = subprocess.run(
        [sockload, "trial", "--cpus", "1", "--target", f"ws://{ADDR}/broadcast", "--verify", "sample", "-c", "2000",
         "--rate", rate, "--json"], capture_output=True, text=True, timeout=120).stdout
    return next(t for t in map(json.loads, out.splitlines()) if "verdict" in t)


def main():
    old, new, sockloop = sys.argv[1:]
    for round_ in range(3):
        for name, sockload in (("old", old), ("new", new)):
            server = subprocess.Popen([sockloop, "--addr", ADDR, "--admin-addr", "127.0.0.1:0", "--cpu", "0"],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(1)
            for rate in RATES:
                before = counters()
                t = trial(sockload, rate)
                rose = {n: v - before[n] for n, v in counters().items()}
                print(json.dumps({"round": round_ + 1, "sockload": name, **rose, "trial": t}), flush=True)
            server.terminate()
            server.wait()


main()
