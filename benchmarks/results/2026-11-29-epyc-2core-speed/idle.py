# What a piece of work takes on the slower of two CPUs, while the server's is idle, is kept busy at the lowest priority,
# and is loaded: ten trials of each in turn. The client's own is busy in all of them. With sockload 48c2f70, which
# gauged idle CPUs too; the later ones do not. From the repository's root: make build && python3 …/idle.py
import json
import statistics
import subprocess
import time

ADDR = "127.0.0.1:18080"


def trial(rate, pid):
    out = subprocess.run(
        ["bin/sockload", "trial", "--json", "--cpus", "1", "--target", f"ws://{ADDR}/broadcast", "--connections", "500",
         "--rate", str(rate), "--window", "2s", "--verify", "sample", "--server-pid", str(pid)],
        capture_output=True, text=True).stdout
    for line in out.splitlines():
        record = json.loads(line)
        if "noise" in (t := record.get("trial", record)):
            return t["noise"]["work_us"]


server = subprocess.Popen(["taskset", "-c", "0", "bin/sockloop", "--addr", ADDR], stderr=subprocess.DEVNULL)
time.sleep(1)
took = {"idle": [], "busy": [], "loaded": []}
try:
    for _ in range(10):
        took["idle"].append(trial(10_000, server.pid))
        spin = subprocess.Popen(["taskset", "-c", "0", "nice", "-n", "19", "sh", "-c", "while :; do :; done"])
        took["busy"].append(trial(10_000, server.pid))
        spin.kill()
        spin.wait()
        took["loaded"].append(trial(50_000_000, server.pid))
finally:
    server.terminate()
for name, us in took.items():
    print(name, "median", statistics.median(us), "of", us)
