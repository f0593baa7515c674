"""What the harnesses share: the binary on free ports, an upstream of asyncio, a client that sees
framing as it is on the wire, and one line of JSON as the result.

YYCHAT_BINARY  the binary to try, by default target/release/yychat
"""

import asyncio
import ctypes
import datetime
import http.client
import json
import os
import pathlib
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = os.path.abspath(os.environ.get("YYCHAT_BINARY", ROOT / "target/release/yychat"))
READY_WITHIN = 30.0
CHAT = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'
# The APIs that there are, by the path that each is asked at.
PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
}
DIALECTS = tuple(PATHS)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def die_with_parent():
    """A gateway does not outlive a harness that is killed (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def raise_nofile():
    """As many open files as this user may have; gives that number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def get(port, path, headers=None, method="GET", body=None, timeout=30):
    """Status and body of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Gateway:
    """The binary, from its start to its end, in a folder that vanishes."""

    def __init__(
        self, config="", upstream=None, env=None, wrap=(), args=(), memory=True, host="127.0.0.1"
    ):
        self._folder = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self._folder.name)
        self.port, self.admin = free_ports(2)
        for name in ("conf/personalities", "plugins"):
            (self.folder / name).mkdir(parents=True)
        self.head = (
            f'[server]\nlisten = "{host}:{self.port}"\n'
            f'admin_listen = "127.0.0.1:{self.admin}"\n'
            f"[memory]\nenabled = {str(memory).lower()}\n"
        )
        if upstream:
            config += f'\n[[upstreams]]\nname = "u0"\nbase_url = "http://127.0.0.1:{upstream}/v1"\n'
        self.write_config(config)
        self.env = {"PATH": os.environ.get("PATH", ""), **(env or {})}
        self.wrap, self.args = list(wrap), list(args)
        # Not in the folder above conf/, which is watched.
        self._logs = tempfile.TemporaryDirectory()
        self.log_path = pathlib.Path(self._logs.name) / "log"

    def write_config(self, text):
        """Puts a configuration in place in one step."""
        path = self.folder / "conf/yychat.toml"
        new = self.folder / "new.toml"
        new.write_text(self.head + text)
        os.replace(new, path)

    def __enter__(self):
        self.start()
        return self

    def start(self):
        began = time.monotonic()
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [*self.wrap, BINARY, *self.args],
            cwd=self.folder,
            env=self.env,
            stdout=self.log,
            stderr=self.log,
            preexec_fn=die_with_parent,
        )
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() - began > READY_WITHIN:
                self.process.kill()
                sys.exit("not ready:\n" + self.log_path.read_text(errors="replace")[-3000:])
            time.sleep(0.01)
        self.ready_after = time.monotonic() - began

    def ready(self):
        try:
            return get(self.admin, "/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    @property
    def pid(self):
        """The gateway's own process, also under strace."""
        if not self.wrap:
            return self.process.pid
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(children.read_text().split()[0])

    def rss_kib(self):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def metric(self, line):
        """A sample's value, by its name and labels; 0 where it is not there."""
        text = get(self.admin, "/metrics")[1].decode()
        for found in text.splitlines():
            if found.startswith(line + " "):
                return float(found.rsplit(" ", 1)[1])
        return 0.0

    def kill(self, number):
        os.kill(self.pid, number)

    def stop(self, number=signal.SIGKILL):
        if self.process.poll() is None:
            try:
                self.kill(number)
            except (OSError, IndexError):
                self.process.kill()
        self.process.wait()
        self.log.close()

    def __exit__(self, *_):
        self.stop()
        self._folder.cleanup()
        self._logs.cleanup()


# libfaketime does not bear an allocator that asks for the time.
CLOCK = r"""
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static volatile long *ahead;
int clock_gettime(clockid_t id, struct timespec *at) {
    int failed = syscall(SYS_clock_gettime, id, at);
    if (failed || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE)) return failed;
    if (!ahead) {
        int file = open(getenv("CLOCK_AHEAD"), O_RDONLY);
        void *page = mmap(0, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
        close(file);
        if (page == MAP_FAILED) return 0;
        ahead = page;
    }
    at->tv_sec += *ahead;
    return 0;
}
"""


class Clock:
    """A wall clock that is wrong, for programs that get `env`; their monotonic one goes on as it does."""

    def __init__(self, folder, ahead=0):
        library, self.file = os.path.join(folder, "clock.so"), os.path.join(folder, "clock.ahead")
        command = ["cc", "-shared", "-fPIC", "-xc", "-", "-o", library]
        subprocess.run(command, input=CLOCK.encode(), check=True)
        self.env = {"LD_PRELOAD": library, "CLOCK_AHEAD": self.file}
        with open(self.file, "wb") as file:
            file.write(struct.pack("l", ahead))

    def set(self, ahead):
        """Seconds ahead of the true one, from now on."""
        with open(self.file, "r+b") as file:
            file.write(struct.pack("l", ahead))


async def read_head(reader):
    """Start line and fields of a message; `None` where the stream ends before it."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    lines = raw[:-4].decode("latin-1").split("\r\n")
    fields = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    return lines[0], fields


async def read_request(reader):
    """Path, fields and body of the next request; `None` where there is none."""
    head = await read_head(reader)
    if head is None:
        return None
    line, fields = head
    try:
        body = await reader.readexactly(int(fields.get("content-length", 0)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return line.split(" ")[1], fields, body


async def read_chunks(reader):
    """A chunked body, and whether it came to its end."""
    body = bytearray()
    try:
        while True:
            size = int((await reader.readuntil(b"\r\n"))[:-2], 16)
            piece = await reader.readexactly(size + 2)
            if size == 0:
                return bytes(body), True
            body += piece[:-2]
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        return bytes(body), False


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def post(path, body, fields=()):
    lines = "".join(f"{field}\r\n" for field in fields)
    return (
        f"POST {path} HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n"
        f"{lines}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def chat_request(body=CHAT, fields=()):
    return post(PATHS["chat"], body, fields)


def asked(dialect, text="hi", model="m", **more):
    """A body that asks for a stream in an API's words; `more` are further members."""
    message = [{"role": "user", "content": text}]
    words = {
        "chat": {"messages": message},
        "responses": {"input": message},
        "messages": {"messages": message, "max_tokens": 100},
    }
    return {"model": model, "stream": True, **words[dialect], **more}


def ask(dialect, text="hi", model="m", fields=(), **more):
    """The request of `asked`."""
    return post(PATHS[dialect], json.dumps(asked(dialect, text, model, **more)).encode(), fields)


def dialect_of(path):
    """The API that a path is one of."""
    return next(name for name, known in PATHS.items() if path.startswith(known))


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
COMPLETION = (
    b'{"id":"c","object":"chat.completion","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}'
)
JSON_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    % (len(COMPLETION), COMPLETION)
)


def delta(text, dialect="chat"):
    """The data of an event that says `text`."""
    return {
        "chat": {"choices": [{"index": 0, "delta": {"content": text}}]},
        "responses": {
            "type": "response.output_text.delta",
            "item_id": "msg_1",
            "output_index": 0,
            "content_index": 0,
            "delta": text,
        },
        "messages": {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": text},
        },
    }[dialect]


def event(text, dialect="chat"):
    data = delta(text, dialect)
    name = f"event: {data['type']}\n".encode() if "type" in data else b""
    return name + b"data: " + json.dumps(data).encode() + b"\n\n"


def reset_on_close(writer):
    """Makes the close of this connection a reset."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def abort(writer):
    """Closes at once with a reset."""
    reset_on_close(writer)
    writer.transport.abort()


async def serve(handler, backlog=4096):
    """An upstream on a free port; `handler(reader, writer)` plays each connection."""

    async def guarded(reader, writer):
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # The other side left, or the harness is at its end.
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0, backlog=backlog, limit=1 << 20)
    return server, server.sockets[0].getsockname()[1]


async def connect(port, **options):
    return await asyncio.open_connection("127.0.0.1", port, **options)


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


def commit():
    said = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    return said.stdout.strip() or "unknown"


def report(name, holds, **figures):
    """Prints the figure in one line of JSON and ends: 0 where the bar is held, 1 where not."""
    today = datetime.date.today().isoformat()
    line = {"test": name, "holds": bool(holds), **figures, "date": today, "commit": commit()}
    print(json.dumps(line, ensure_ascii=False), flush=True)
    sys.exit(0 if holds else 1)


def number(default, position=1):
    """A count from the command line."""
    return int(sys.argv[position]) if len(sys.argv) > position else default
