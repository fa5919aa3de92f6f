#!/usr/bin/env python3
"""What the kernel keeps for readers that never read: kernel-memory.py SOCKLOOP..., each program in turn.

300 raw WebSockets join the room and read nothing; one more publishes 1500 messages of 30,000 bytes and reads them all.
Printed is the memory of all TCP sockets of the machine (/proc/net/sockstat), in KiB."""
import socket, struct, subprocess, sys, time

READERS, MESSAGES, SIZE, PORT = 300, 1500, 30_000, 21000
HANDSHAKE = (b'GET /broadcast/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
             b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n')


def kernel_kib():
    for line in open('/proc/net/sockstat'):
        if line.startswith('TCP:'):
            return int(line.split()[-1]) * 4


def join(port):
    s = socket.create_connection(('127.0.0.1', port))
    s.sendall(HANDSHAKE)
    s.recv(200)
    return s


for n, program in enumerate(sys.argv[1:]):
    port = PORT + n
    server = subprocess.Popen([program, '--addr', f'127.0.0.1:{port}', '--admin-addr', 'off', '--slow-consumer', 'skip'],
                              stderr=subprocess.DEVNULL)
    time.sleep(0.7)
    readers, publisher = [join(port) for _ in range(READERS)], join(port)
    before = kernel_kib()
    frame = b'\x81' + bytes([128 | 126]) + struct.pack('>H', SIZE) + bytes(4) + b'x' * SIZE
    for _ in range(MESSAGES):
        publisher.sendall(frame)
        heard = 0
        while heard < SIZE + 4:
            heard += len(publisher.recv(1 << 20))
    time.sleep(1)
    after = kernel_kib()
    print(f'{program}: {before} before, {after} after, {(after - before) / READERS:.1f} a reader', flush=True)
    for s in readers + [publisher]:
        s.close()
    server.terminate()
    server.wait()
    time.sleep(2)
