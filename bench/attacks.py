"""What :mod:`bench.neighbour` has a container, or somebody outside, do to everybody else.

Each is a Python program that ends by itself, with ``{seconds}``, ``{host}`` and ``{port}`` to be filled in.
It prints how much it has done so far, about twice a second, so that one which comes to nothing is seen.
"""

_BEGIN = """
import os, resource, socket, time
until, did, told_at = time.monotonic() + {seconds}, 0, 0.0
def goes_on():
    global told_at
    if time.monotonic() > told_at + 0.5:
        told_at = time.monotonic()
        print(did, flush=True)
    return time.monotonic() < until
"""
_FORK_BOMB = """
while goes_on():
    did += 1
    try:
        if os.fork() == 0:
            while time.monotonic() < until:
                pass
            os._exit(0)
    except OSError:
        time.sleep(0.001)
"""
_MEMORY_BOMB = """
while goes_on():
    if os.fork() == 0:
        held = []
        while True:
            held.append(bytearray(b"x") * (1 << 20))
    os.wait()
    did += 1
"""
_LOG_FLOOD = """
with open("/proc/1/fd/1", "wb", buffering=0) as out:
    while goes_on():
        did += out.write((b"x" * 1023 + b"\\n") * 64)
"""
_DISK_FILL = """
while goes_on():
    with open("/data/fill", "wb", buffering=0) as file:
        for _ in range(256):
            did += file.write(bytes(1 << 20))
            goes_on()
    os.unlink("/data/fill")
"""
_CONNECTION_FLOOD = """
held = []
while goes_on():
    try:
        one = socket.create_connection(("{host}", {port}), 1)
        one.send(b"GET / HTTP/1.1\\r\\n")
        held.append(one)
        did += 1
    except OSError:
        time.sleep(0.01)
    if len(held) > 2000:
        for one in held:
            one.close()
        held.clear()
"""
# So many connections at any time: whoever is closed comes again.
_HELD = """
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
held = []
def is_open(one):
    try:
        one.send(DRIPS) if DRIPS else None
        return one.recv(65536) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
while goes_on():
    held = [one for one in held if is_open(one)]
    while len(held) < COUNT and goes_on():
        try:
            one = socket.create_connection(("{host}", {port}), 5)
            one.send(BEGINS)
            one.setblocking(False)
            held.append(one)
        except OSError:
            time.sleep(0.01)
    did += len(held)  # twice a second
    time.sleep(0.5)
"""
_IDLE = """
COUNT, BEGINS, DRIPS = 9_000, b"GET /health HTTP/1.1\\r\\nHost: localhost:{port}\\r\\n\\r\\n", b""
"""
_SLOW = """
COUNT, BEGINS, DRIPS = 500, b"POST /mcp HTTP/1.1\\r\\nX: ", b"x"
"""
_MALFORMED = """
heads = (
    b"POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 4\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n",
    b"POST /mcp HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: 4\\r\\nContent-Length: 5\\r\\n\\r\\nabcd",
    b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\nX: a\\r\\n b\\r\\n\\r\\n",
    b"POST /mcp HTTP/1.1\\r\\nHost: localhost\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\nzz\\r\\n",
    b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\nX: " + b"x" * (1 << 20) + b"\\r\\n\\r\\n",
    b"GET /%2e%2e/..%2f HTTP/1.1\\r\\nHost: evil.example\\r\\nOrigin: https://evil.example\\r\\n\\r\\n",
)
at = time.monotonic()
while goes_on():
    try:
        with socket.create_connection(("{host}", {port}), 5) as one:
            one.sendall(heads[did % len(heads)])
            one.recv(1)
    except OSError:
        pass
    did += 1
    at += 1 / 100
    time.sleep(max(0.0, at - time.monotonic()))
"""
INSIDE = {
    name: _BEGIN + script
    for name, script in {
        "fork bomb": _FORK_BOMB,
        "memory bomb": _MEMORY_BOMB,
        "log flood": _LOG_FLOOD,
        "disk fill": _DISK_FILL,
        "connection flood": _CONNECTION_FLOOD,
    }.items()
}
OUTSIDE = {
    name: _BEGIN + script
    for name, script in {
        "9,000 idle connections": _IDLE + _HELD,
        "500 slow clients": _SLOW + _HELD,
        "malformed requests": _MALFORMED,
    }.items()
}
