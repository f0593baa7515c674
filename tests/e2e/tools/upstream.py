"""An OpenAI-compatible upstream whose streams are random and whose meaning is not.

The user's last message is `SEED A B`. The model multiplies A and B with `calculator`, cut into
pieces at random, once or twice in parallel, beside text and, where the client offers `their_tool`,
a call of that. Given the results it says `=RESULT`.
"""

import json
import random
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def pieces(text, pick, most=4):
    at = sorted(pick.randrange(len(text) + 1) for _ in range(pick.randrange(most)))
    return [text[a:b] for a, b in zip([0, *at], [*at, len(text)])]


def entries(index, call, name, arguments, pick, style):
    """The fragments of a call."""
    names = [name] if style["whole"] or pick.random() < 0.7 else pieces(name, pick, 2)
    parts = [] if style["whole"] else pieces(arguments, pick)
    fragments = [{"function": {"name": part}} for part in names]
    fragments += [{"function": {"arguments": part}} for part in parts]
    if style["whole"]:
        fragments[0]["function"]["arguments"] = arguments
    for number, fragment in enumerate(fragments):
        fragment["index"] = index
        if number == 0 or style["repeats"]:
            fragment["id"] = call
        if number == 0:
            fragment["type"] = "function"
    return fragments


def first_leg(seed, a, b, theirs, pick):
    style = {key: pick.random() < 0.3 for key in ("whole", "repeats", "mixes")}
    deltas = [{"role": "assistant", "content": ""}]
    deltas += [{"content": part} for part in pieces("Let me see, 你好 🦀: ", pick) if part]
    product = json.dumps({"operation": "multiply", "a": a, "b": b})
    wanted = [("calculator", product)] * pick.randrange(1, 3)
    if theirs:
        wanted.append(("their_tool", json.dumps({"seed": seed})))
    pick.shuffle(wanted)
    calls = [
        entries(index, f"call_{seed}_{index}", name, arguments, pick, style)
        for index, (name, arguments) in enumerate(wanted)
    ]
    if style["mixes"]:
        longest = max(map(len, calls))
        turns = [call[turn] for turn in range(longest) for call in calls if turn < len(call)]
    else:
        turns = [fragment for call in calls for fragment in call]
    return deltas + [{"tool_calls": [fragment]} for fragment in turns], "tool_calls"


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        user = [m for m in body["messages"] if m["role"] == "user"][-1]["content"]
        seed, a, b = map(int, user.split())
        pick = random.Random(f"{seed} {len(body['messages'])}")
        names = [tool["function"]["name"] for tool in body.get("tools", [])]
        results = [m for m in body["messages"] if m["role"] == "tool"]
        if results:
            answers = {json.loads(m["content"])["result"] for m in results}
            assert len(answers) == 1, answers
            deltas = [{"role": "assistant", "content": ""}]
            deltas += [{"content": part} for part in pieces(f"={answers.pop():.0f}", pick) if part]
            reason = "stop"
        else:
            assert "calculator" in names, names
            deltas, reason = first_leg(seed, a, b, "their_tool" in names, pick)
        self.stream(f"chatcmpl-{pick.random()}", deltas, reason, pick)

    def stream(self, identity, deltas, reason, pick):
        end = pick.choice(["\n\n", "\r\n\r\n"])
        choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": reason})
        envelope = {"id": identity, "object": "chat.completion.chunk", "created": 1, "model": "m"}
        events = [{**envelope, "choices": [choice]} for choice in choices]
        usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
        events.append({**envelope, "choices": [], "usage": usage})
        text = "".join(f"data: {json.dumps(event, ensure_ascii=False)}{end}" for event in events)
        stream = f": hello{end}{text}data: [DONE]{end}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces(stream, pick, 12):
            if piece:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")


server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
print(server.server_port, flush=True)
server.serve_forever()
sys.exit()
