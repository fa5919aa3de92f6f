# CPU of the whole process for a scrape: python3 scrape.py bin/sockloop
import socket
import subprocess
import sys
import time
import urllib.request

server = subprocess.Popen(
    ["taskset", "-c", "0", sys.argv[1], "serve", "--addr=127.0.0.1:18080", "--admin-addr=127.0.0.1:19090"],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
time.sleep(1)
HANDSHAKE = (b"GET /broadcast/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")


def cpu():
    """Seconds of user and system time, proc_pid_stat(5)."""
    fields = open(f"/proc/{server.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


sockets = []
for connections in 0, 2000:
    while len(sockets) < connections:
        sockets.append(socket.create_connection(("127.0.0.1", 18080)))
        sockets[-1].sendall(HANDSHAKE)
        sockets[-1].recv(500)
    for _ in range(3):
        before = cpu()
        for _ in range(500):
            urllib.request.urlopen("http://127.0.0.1:19090/metrics").read()
        print(connections, "connections:", round((cpu() - before) / 500 * 1000, 2), "ms of CPU a scrape")
server.terminate()
