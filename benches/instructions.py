"""Instructions a request; benches/instructions.sh tells what and runs it.

A model that answers at once, a client on a few kept connections, and between them a program under callgrind,
whose counts are set to zero once it is warm and read once all is done.
"""

import glob
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONNECTIONS = 4
EVENTS = 20
SYLLABLES = "ba co di fe gu ha jo ki lu me no pa ri so tu".split()


def said(number, size):
    """A text of about so many bytes that no other number has."""
    text = f"On day {number} I went to the café on 5th street with guest {number * 7919 % 100003}."
    at = number
    while len(text) < size:
        at = (at * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        # A few words are frequent, most are not.
        word = int(3375 ** ((at >> 40) / (1 << 24)))
        text += " " + "".join(SYLLABLES[word // part % 15] for part in (1, 15, 225))
        text += "." if (at >> 20) % 11 == 0 else ""
    return text[:size]


def request(number, size, stream):
    """A conversation whose body has about so many bytes, of messages of 4 KB at most."""
    messages = [{"role": "system", "content": "Answer briefly."}]
    left = size - 300
    while left > 4096:
        turn = min(left - 1024, 4096)
        messages.append({"role": "user", "content": said(0, turn // 2)})
        messages.append({"role": "assistant", "content": said(1, turn // 2)})
        left -= turn
    messages.append({"role": "user", "content": said(number, left)})
    body = {"model": "mock", "messages": messages, "stream": stream}
    if stream:
        body["stream_options"] = {"include_usage": True}
    return json.dumps(body, ensure_ascii=False).encode()


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        words = next((m["content"] for m in reversed(body["messages"]) if m["role"] == "user"), "")
        answer = "I heard of " + str(words)[10:560]
        head = {"id": "chatcmpl-1", "created": 1700000000, "model": "mock", "system_fingerprint": "fp_mock"}
        usage = {"prompt_tokens": 19, "completion_tokens": 120, "total_tokens": 139}
        if not body.get("stream"):
            message = {"role": "assistant", "content": answer, "refusal": None, "annotations": []}
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
            whole = head | {"object": "chat.completion", "choices": [choice], "usage": usage}
            self.answer("application/json", [json.dumps(whole).encode()])
            return
        head |= {"object": "chat.completion.chunk"}
        deltas = [{"role": "assistant", "content": ""}]
        deltas += [{"content": answer[at : at + 8]} for at in range(0, EVENTS * 8, 8)]
        choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        events = [head | {"choices": [choice]} for choice in choices]
        events.append(head | {"choices": [], "usage": usage})
        lines = [f"data: {json.dumps(event)}\n\n" for event in events] + ["data: [DONE]\n\n"]
        self.answer("text/event-stream", [line.encode() for line in lines])

    def answer(self, kind, pieces):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        is_whole = len(pieces) == 1
        framing = ("Content-Length", len(pieces[0])) if is_whole else ("Transfer-Encoding", "chunked")
        self.send_header(*framing)
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece if is_whole else b"%x\r\n%s\r\n" % (len(piece), piece))
        if not is_whole:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


class Program:
    """A program under callgrind."""

    def __init__(self, folder, name, port, *command):
        self.port = port
        self.out = os.path.join(folder, f"callgrind.{name}")
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.out}"]
        log = open(os.path.join(folder, f"{name}.log"), "w")
        environment = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
        self.child = subprocess.Popen(
            [*valgrind, *command], stdout=log, stderr=subprocess.STDOUT, env=environment
        )

    def wait(self, port, path):
        while True:
            if self.child.poll() is not None:
                sys.exit(f"{self.out}: it ended before it served")
            try:
                get(port, path)
                return
            except OSError:
                time.sleep(0.1)

    def control(self, option):
        command = ["callgrind_control", option, str(self.child.pid)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def dump(self, row):
        """The instructions since the counts were set to zero."""
        before = set(glob.glob(self.out + ".*"))
        self.control("--dump=" + row)
        (dumped,) = set(glob.glob(self.out + ".*")) - before
        with open(dumped) as profile:
            total = re.findall(r"^(?:totals|summary): (\d+)$", profile.read(), re.M)[0]
        if kept := os.environ.get("PROFILES"):
            shutil.copy(dumped, os.path.join(kept, row.replace(" ", "-")))
        os.remove(dumped)
        return int(total)


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    return connection.getresponse().read().decode()


def send(port, numbers, size, stream, fields):
    """Sends the requests of these numbers over a few connections."""
    faults = []

    def work(numbers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        for number in numbers:
            body = request(number, size, stream)
            headers = {"Content-Type": "application/json", **fields}
            connection.request("POST", "/v1/chat/completions", body, headers)
            answer = connection.getresponse()
            if answer.status != 200 or not answer.read():
                faults.append(answer.status)

    threads = [threading.Thread(target=work, args=(numbers[i::CONNECTIONS],)) for i in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        sys.exit(f"not answered: {faults}")


def settle(admin):
    """Until what was said is saved."""
    while True:
        queue = re.findall(r"^yychat_memory_queue\S* (\d+)", get(admin, "/metrics"), re.M)
        if all(waiting == "0" for waiting in queue):
            return
        time.sleep(0.2)


def main():
    yychat, pass_through, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    folder = tempfile.mkdtemp()
    model = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    model.daemon_threads = True
    threading.Thread(target=model.serve_forever, daemon=True).start()
    upstream, bare, api, admin = model.server_port, free_port(), free_port(), free_port()
    os.mkdir(os.path.join(folder, "personalities"))
    persona = ("You are a patient assistant who answers in short, plain sentences. " * 16)[:1024]
    with open(os.path.join(folder, "personalities", "bench.json"), "w") as file:
        json.dump({"id": "bench", "name": "Bench", "system_prompt": persona}, file)
    # By itself, since changes of its folder are watched for.
    os.mkdir(os.path.join(folder, "conf"))
    with open(os.path.join(folder, "conf", "yychat.toml"), "w") as file:
        file.write(f"""
[server]
listen = "127.0.0.1:{api}"
admin_listen = "127.0.0.1:{admin}"
[[upstreams]]
name = "mock"
base_url = "http://127.0.0.1:{upstream}/v1"
[personality]
dir = "{folder}/personalities"
default = "bench"
[memory]
path = "{folder}/memory"
[tools]
dir = "{os.path.abspath('plugins')}"
""")
    programs = [
        Program(folder, "bare", bare, pass_through, f"127.0.0.1:{bare}", f"127.0.0.1:{upstream}"),
        Program(folder, "yychat", api, yychat, "--config", f"{folder}/conf/yychat.toml"),
    ]
    try:
        programs[0].wait(bare, "/v1/models")
        programs[1].wait(admin, "/readyz")
        measure(programs, admin, count)
    finally:
        for program in programs:
            program.child.kill()
            program.child.wait()
        shutil.rmtree(folder)


def measure(programs, admin, count):
    bare, gateway = programs
    number = 1000
    user = {"X-YYChat-User-Id": "bench"}
    recalled = user | {"X-YYChat-Memory": "readonly"}
    none = {"X-YYChat-Use-Tools": "false"}
    # What there is to recall.
    send(gateway.port, range(40), 1024, False, user)
    rows = []
    for stream, size in ((False, 1024), (False, 10240), (True, 1024)):
        for row, fields in (("persona", none), ("tools", {}), ("recalled", recalled), ("asked", recalled), ("saved", user)):
            rows.append((gateway, row, size, stream, fields))
        rows.append((bare, "bare pingora", size, stream, {}))
    print(f"{'instructions a request':24}{'in all':>12}")
    for program, row, size, stream, fields in rows:
        # The same is asked again where it is to be found in a cache.
        is_new = row in ("asked", "saved")
        for many in (40, count):
            numbers = range(number, number + many) if is_new else [7] * many
            number += many
            program.control("--zero")
            send(program.port, list(numbers), size, stream, fields)
            # Looking costs as well.
            if row == "saved":
                settle(admin)
        name = f"{row}, {'stream' if stream else f'{size // 1024} KB'}"
        print(f"{name:24}{program.dump(name) // count:>12,}", flush=True)


main()
