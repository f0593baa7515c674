"""What a connection holds in the gateway's memory: one that waits, a live stream, a reader that stalls.

  benches/resident.py [YYCHAT [COUNT]]

Each row opens COUNT of its kind against the default configuration and divides by it what the resident memory
grew by. Needs python3 and a built yychat, target/release/yychat where none is named.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile

EVENT = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}],"padding":"%s"}\n\n'
BODY = b'{"model":"mock","stream":true,"user":"bench%d","messages":[{"role":"user","content":"Tell me of the harbour, number %d, at some length."}]}'


async def model(reader, writer):
    """Streams small events now and then, or for `x-endless` as much as is taken."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
            await reader.readexactly(int(fields.get(b"content-length", 0)))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            is_endless = b"x-endless" in fields
            # What the answer says is kept, what stands beside it is not.
            event = EVENT % (b"." * (10000 if is_endless else 40))
            while True:
                writer.write(b"%x\r\n%s\r\n" % (len(event), event))
                await writer.drain()
                await asyncio.sleep(0 if is_endless else 0.1)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


async def waiting(port, number):
    """A connection that has served a request and waits for the next."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /v1/personalities HTTP/1.1\r\nhost: bench\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    await reader.readexactly(int(length.split(b":")[1]))
    return writer


async def stream(port, number, fields=b""):
    body = BODY % (number % 100, number)
    # Little room, so that one that stalls is noticed soon.
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=1 << 14)
    request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    writer.write(request + b"%scontent-length: %d\r\n\r\n%s" % (fields, len(body), body))
    await reader.readuntil(b"data: ")
    return reader, writer


async def live(port, number):
    reader, writer = await stream(port, number)

    async def read():
        while await reader.read(1 << 14):
            pass

    asyncio.ensure_future(read())
    return writer


async def stalled(port, number):
    _, writer = await stream(port, number, b"x-endless: 1\r\n")
    writer.transport.pause_reading()
    return writer


async def row(name, opens, port, pid, count):
    # What is kept for reuse is there before.
    for writer in [await opens(port, number) for number in range(50)]:
        writer.close()
    await asyncio.sleep(1)
    before = resident(pid)
    writers = [await opens(port, number) for number in range(count)]
    await asyncio.sleep(5)
    print(f"{name}: {(resident(pid) - before) / count:.1f} KiB each, of {count}", flush=True)
    for writer in writers:
        writer.close()
    await asyncio.sleep(2)


async def main():
    yychat = sys.argv[1] if len(sys.argv) > 1 else "target/release/yychat"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 400
    folder = tempfile.mkdtemp()
    server = await asyncio.start_server(model, "127.0.0.1", 0)
    upstream, api = server.sockets[0].getsockname()[1], free_port()
    with open(f"{folder}/yychat.toml", "w") as file:
        file.write(
            f'[server]\nlisten = "127.0.0.1:{api}"\nadmin_listen = "127.0.0.1:{free_port()}"\n'
            f'[[upstreams]]\nname = "mock"\nbase_url = "http://127.0.0.1:{upstream}/v1"\n'
            f'[memory]\npath = "{folder}/memory"\n[tools]\ndir = "{os.path.abspath("plugins")}"\n'
            f'[personality]\ndir = "{os.path.abspath("conf/personalities")}"\n'
        )
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
    child = subprocess.Popen([yychat, "--config", f"{folder}/yychat.toml"], stderr=subprocess.DEVNULL, env=environment)
    try:
        while True:
            try:
                (await waiting(api, 0)).close()
                break
            except OSError:
                await asyncio.sleep(0.1)
        print(f"at rest: {resident(child.pid)} KiB")
        for name, opens in (("waiting", waiting), ("live stream", live), ("stalled reader", stalled)):
            await row(name, opens, api, child.pid, count)
    finally:
        child.kill()
        child.wait()
        shutil.rmtree(folder)


asyncio.run(main())
