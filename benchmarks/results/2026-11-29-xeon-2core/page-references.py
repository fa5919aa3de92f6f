#!/usr/bin/env python3
# What the kernel holds for readers that have stopped, when the same bytes are sent to each: with send(2), a copy for each
# socket; with sendfile(2) from a memfd, references to the same pages. The unsent part is bounded as sockloop bounds it
# (TCP_NOTSENT_LOWAT is not; SO_SNDBUF). Prints a line a way: readers, bytes that their sockets took, kilobytes by which
# MemAvailable fell, and what /proc/net/sockstat says TCP has.
import os, socket, sys

def meminfo():
    for l in open('/proc/meminfo'):
        if l.startswith('MemAvailable'):
            return int(l.split()[1])

def tcp():
    for l in open('/proc/net/sockstat'):
        if l.startswith('TCP:'):
            return int(l.split()[-1]) * 4

def run(way, readers, unsent):
    l = socket.create_server(('127.0.0.1', 0), backlog=4096)
    log = b'x' * (8 << 20)
    memory = os.memfd_create('log')
    os.write(memory, log)
    pairs = []
    for _ in range(readers):
        c = socket.create_connection(l.getsockname())
        s, _ = l.accept()
        s.setblocking(False)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, unsent)
        pairs.append((s, c))
    before, charged = meminfo(), tcp()
    taken = 0
    for s, _ in pairs:
        at = 0
        while True:
            try:
                if way == 'send':
                    n = s.send(memoryview(log)[at:at + (256 << 10)])
                else:
                    n = os.sendfile(s.fileno(), memory, at, 256 << 10)
            except BlockingIOError:
                break
            at += n
        taken += at
    print(f'{way} readers {readers} sndbuf {unsent} taken {taken // readers} B each, MemAvailable fell '
          f'{(before - meminfo()) / readers:.1f} KB each, TCP has {(tcp() - charged) / readers:.1f} KB each more', flush=True)
    for p in pairs:
        for s in p:
            s.close()
    os.close(memory)

for round in range(2):
    for way in ('send', 'sendfile'):
        import time; time.sleep(20)
        pid = os.fork()
        if pid == 0:
            run(way, int(sys.argv[1]), int(sys.argv[2]))
            os._exit(0)
        os.waitpid(pid, 0)
