#!/usr/bin/env python3
"""Trials with two versions of sockload in turn: how fast each finds the CPUs, and what it says of the trial.

gauge.py OLD NEW OUT: OLD and NEW are programs, OUT gets a line of JSON for each trial. To be run in the repository, on a
machine with two CPUs, after make build and bin/benchmarks --install."""
import json, subprocess, sys, time

old, new, out = sys.argv[1:4]
node = [["taskset", "-c", "0", "node", "benchmarks/peers/sockjs-node/server.js", "127.0.0.1"], []]
goroutine = [["bin/goroutine", "--cpu", "0", "--addr"], []]
sockloop = [["bin/sockloop", "--cpu", "0", "--addr"], ["--verify", "sample"]]
port = 19200
with open(out, "a") as log:
    for name, (program, args), connections, rate in [
        ("sockjs-node", node, 25, 250e3), ("goroutine", goroutine, 25, 250e3),
        ("sockjs-node", node, 500, 180e3), ("sockloop", sockloop, 500, 300e6),
    ]:
        port += 1
        address = [str(port)] if name == "sockjs-node" else [f"127.0.0.1:{port}"]
        server = subprocess.Popen(program + address, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1.5)
        for round in range(6):
            for version, client in (("old", old), ("new", new)):
                printed = subprocess.run(
                    [client, "trial", "--cpus", "1", "--target", f"ws://127.0.0.1:{port}/broadcast", "-c",
                     str(connections), "--rate", str(int(rate)), "--json"] + args,
                    capture_output=True, text=True, timeout=60, check=False).stdout
                t = next(t for t in map(json.loads, printed.splitlines()) if "verdict" in t)
                log.write(json.dumps({
                    "server": name, "connections": connections, "nominal_rate": t["nominal_rate"], "client": version,
                    "client_version": t["client_version"], "verdict": t["verdict"], "mean_ms": t["rtt_ms"]["mean"],
                    "noise": t.get("noise")}) + "\n")
                log.flush()
        server.terminate()
        server.wait()
