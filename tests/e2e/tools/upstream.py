"""An upstream of three APIs whose streams are random and whose meaning is not, and which is strict.

The user's first message is `SEED A B`. The model multiplies A and B with `calculator`, cut into
pieces at random, once or twice in parallel, beside text, thinking and, where the client offers
`their_tool`, a call of that. Given the results it says `=RESULT`. A request in which a call has no
result, a result no call, or thinking is not as it was, is refused as the real ones refuse it.
"""

import json
import random
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SAID = "Let me see, 你好 🦀: "


class Refused(Exception):
    pass


def expect(holds, why):
    if not holds:
        raise Refused(why)


def pieces(text, pick, most=4):
    at = sorted(pick.randrange(len(text) + 1) for _ in range(pick.randrange(most)))
    return [text[a:b] for a, b in zip([0, *at], [*at, len(text)])]


def texts(text, pick):
    return [part for part in pieces(text, pick) if part]


def wanted(seed, a, b, theirs, pick):
    """The calls of a first leg: names and arguments."""
    product = json.dumps({"operation": "multiply", "a": a, "b": b})
    calls = [("calculator", product)] * pick.randrange(1, 3)
    if theirs:
        calls.append(("their_tool", json.dumps({"seed": seed})))
    pick.shuffle(calls)
    return calls


def woven(parts, pick):
    """Lists as one, each in its order; in a third of all cases they take turns."""
    if pick.random() < 0.3:
        longest = max(map(len, parts), default=0)
        return [part[turn] for turn in range(longest) for part in parts if turn < len(part)]
    return [entry for part in parts for entry in part]


class Chat:
    done = "data: [DONE]"

    def __init__(self, body):
        self.messages = body["messages"]
        self.question = next(m["content"] for m in self.messages if m["role"] == "user")
        self.tools = [tool["function"]["name"] for tool in body.get("tools", [])]
        self.results = [m["content"] for m in self.messages if m["role"] == "tool"]
        open_calls = []
        for message in self.messages:
            if message["role"] == "tool":
                expect(message["tool_call_id"] in open_calls, "a result without its call")
                open_calls.remove(message["tool_call_id"])
            else:
                expect(not open_calls, f"calls without results: {open_calls}")
                open_calls += [call["id"] for call in message.get("tool_calls") or []]
        expect(not open_calls, f"calls without results: {open_calls}")

    def entries(self, index, call, name, arguments, pick, style):
        """The fragments of a call."""
        # OpenAI's Node library keeps the last piece of a name alone.
        cut = name == "calculator" and not style["whole"] and pick.random() < 0.3
        names = pieces(name, pick, 2) if cut else [name]
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

    def events(self, seed, said, calls, pick):
        style = {key: pick.random() < 0.3 for key in ("whole", "repeats")}
        # OpenAI's Python library joins an id that is repeated, and then sends that.
        style["repeats"] &= all(name == "calculator" for name, _ in calls)
        deltas = [{"role": "assistant", "content": ""}]
        deltas += [{"content": part} for part in texts(said, pick)]
        fragments = [
            self.entries(index, f"call_{seed}_{index}", name, arguments, pick, style)
            for index, (name, arguments) in enumerate(calls)
        ]
        deltas += [{"tool_calls": [fragment]} for fragment in woven(fragments, pick)]
        choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        reason = "tool_calls" if calls else "stop"
        choices.append({"index": 0, "delta": {}, "finish_reason": reason})
        envelope = {
            "id": f"chatcmpl-{pick.random()}",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
        }
        events = [{**envelope, "choices": [choice]} for choice in choices]
        usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
        return [*events, {**envelope, "choices": [], "usage": usage}]


class Responses:
    done = None

    def __init__(self, body):
        self.items = body["input"]
        if isinstance(self.items, str):
            self.items = [{"role": "user", "content": self.items}]
        self.question = next(i["content"] for i in self.items if i.get("role") == "user")
        self.tools = [tool["name"] for tool in body.get("tools", [])]
        self.results, called = [], []
        for at, item in enumerate(self.items):
            kind = item.get("type", "message")
            if kind == "function_call":
                called.append(item["call_id"])
                json.loads(item["arguments"])
            elif kind == "function_call_output":
                expect(item["call_id"] in called, "an output without its call")
                called.remove(item["call_id"])
                self.results.append(item["output"])
            elif kind == "reasoning":
                expect(item["encrypted_content"] == f"think {item['id']}", "thinking was changed")
                after = self.items[at + 1] if at + 1 < len(self.items) else {}
                follows = after.get("type", "message") in ("message", "function_call")
                follows = follows and after.get("role", "assistant") == "assistant"
                expect(after and follows, "reasoning without its required following item")
        expect(not called, f"no tool output found for {called}")

    def events(self, seed, said, calls, pick):
        marks = f"{seed}_{pick.randrange(1 << 30)}"
        items, streams = [], []

        def item(kind, deltas, **members):
            at = len(items)
            whole = {"type": kind, "id": f"{kind}_{marks}_{at}", **members}
            items.append(whole)
            place = {"output_index": at, "item_id": whole["id"]}
            streams.append([{**delta, **place} for delta in deltas])
            return whole

        if pick.random() < 0.5:
            thinking = item("reasoning", [], summary=[])
            thinking["encrypted_content"] = f"think {thinking['id']}"
        if said:
            part = {"type": "output_text", "text": said, "annotations": []}
            inner = {"content_index": 0}
            empty = {"part": {**part, "text": ""}}
            deltas = [{"type": "response.content_part.added", **inner, **empty}]
            for text in texts(said, pick):
                delta = {"delta": text, "logprobs": []}
                deltas.append({"type": "response.output_text.delta", **inner, **delta})
            ends = {"text": said, "logprobs": []}
            deltas.append({"type": "response.output_text.done", **inner, **ends})
            deltas.append({"type": "response.content_part.done", **inner, "part": part})
            item("message", deltas, role="assistant", status="completed", content=[part])
        for name, arguments in calls:
            kind = "response.function_call_arguments"
            deltas = [{"type": f"{kind}.delta", "delta": text} for text in texts(arguments, pick)]
            deltas.append({"type": f"{kind}.done", "arguments": arguments, "name": name})
            members = {"name": name, "arguments": arguments, "status": "completed"}
            item("function_call", deltas, call_id=f"call_{marks}_{len(items)}", **members)

        def begun(whole):
            empty = {"content": [], "arguments": "", "status": "in_progress"}
            return {key: empty.get(key, value) for key, value in whole.items()}

        def added(at, whole):
            return {"type": "response.output_item.added", "output_index": at, "item": begun(whole)}

        def done(at, whole):
            return {"type": "response.output_item.done", "output_index": at, "item": whole}

        streams = [
            [added(at, whole), *stream, done(at, whole)]
            for at, (whole, stream) in enumerate(zip(items, streams))
        ]
        # Only what is begun in its order is legal; deltas of several items may take turns.
        if pick.random() < 0.3:
            heads = [stream[0] for stream in streams]
            events = heads + woven([stream[1:] for stream in streams], pick)
        else:
            events = [event for stream in streams for event in stream]
        usage = {
            "input_tokens": 5,
            "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
            "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": 8,
        }
        response = {
            "id": f"resp_{marks}",
            "object": "response",
            "created_at": 1,
            "status": "in_progress",
            "model": "m",
            "output": [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }
        end = {**response, "status": "completed", "output": items, "usage": usage}
        events = [
            {"type": "response.created", "response": response},
            {"type": "response.in_progress", "response": response},
            *events,
            {"type": "response.completed", "response": end},
        ]
        return [{**event, "sequence_number": number} for number, event in enumerate(events)]


class Messages:
    done = None

    def __init__(self, body):
        self.messages = body["messages"]
        content = self.messages[0]["content"]
        self.question = content if isinstance(content, str) else content[-1]["text"]
        self.tools = [tool["name"] for tool in body.get("tools", [])]
        self.results, called = [], []
        for message in self.messages:
            blocks = message["content"] if isinstance(message["content"], list) else []
            given = []
            for at, block in enumerate(blocks):
                if block["type"] == "tool_result":
                    expect(at == len(given), "tool_result blocks do not come first")
                    given.append(block["tool_use_id"])
                    text = block["content"]
                    self.results.append(text if isinstance(text, str) else text[0]["text"])
                if block["type"] == "thinking":
                    expect(block["signature"] == f"sign {block['thinking']}", "thinking was changed")
            expect(sorted(given) == sorted(called), f"{called} are answered by {given}")
            called = [block["id"] for block in blocks if block["type"] == "tool_use"]
        expect(not called, f"calls without results: {called}")

    def events(self, seed, said, calls, pick):
        marks = f"{seed}_{pick.randrange(1 << 30)}"
        blocks = []
        if pick.random() < 0.5:
            thought = f"I think {marks}"
            deltas = [{"type": "thinking_delta", "thinking": text} for text in texts(thought, pick)]
            deltas.append({"type": "signature_delta", "signature": f"sign {thought}"})
            blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
        if said:
            deltas = [{"type": "text_delta", "text": text} for text in texts(said, pick)]
            blocks.append(({"type": "text", "text": ""}, deltas))
        for number, (name, arguments) in enumerate(calls):
            parts = texts(arguments, pick)
            if pick.random() < 0.3:
                parts.insert(0, "")
            deltas = [{"type": "input_json_delta", "partial_json": text} for text in parts]
            use = {"type": "tool_use", "id": f"toolu_{marks}_{number}", "name": name, "input": {}}
            blocks.append((use, deltas))
        message = {
            "id": f"msg_{marks}",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 5, "output_tokens": 1},
        }
        events = [{"type": "message_start", "message": message}]
        for at, (block, deltas) in enumerate(blocks):
            events.append({"type": "content_block_start", "index": at, "content_block": block})
            for delta in deltas:
                events.append({"type": "content_block_delta", "index": at, "delta": delta})
                if pick.random() < 0.1:
                    events.append({"type": "ping"})
            events.append({"type": "content_block_stop", "index": at})
        reason = {"stop_reason": "tool_use" if calls else "end_turn", "stop_sequence": None}
        usage = {"input_tokens": 5, "output_tokens": 3}
        events.append({"type": "message_delta", "delta": reason, "usage": usage})
        return [*events, {"type": "message_stop"}]


APIS = {"chat/completions": Chat, "responses": Responses, "messages": Messages}


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = self.path.partition("?")[0].split("/v1/")[1]
        try:
            self.answer(APIS[name](body))
        except Refused as refused:
            error = {"type": "invalid_request_error", "message": str(refused), "code": "strict"}
            said = json.dumps({"type": "error", "error": error}).encode()
            self.send_response(400)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

    def answer(self, asked):
        seed, a, b = map(int, asked.question.split())
        pick = random.Random(f"{seed} {len(asked.results)}")
        if asked.results:
            numbers = [json.loads(text).get("result") for text in asked.results]
            numbers = {number for number in numbers if number is not None}
            expect(len(numbers) == 1, f"results: {asked.results}")
            events = asked.events(seed, f"={numbers.pop():.0f}", [], pick)
        else:
            expect("calculator" in asked.tools, f"tools: {asked.tools}")
            calls = wanted(seed, a, b, "their_tool" in asked.tools, pick)
            events = asked.events(seed, SAID, calls, pick)
        self.stream(events, asked.done, pick)

    def stream(self, events, done, pick):
        end = pick.choice(["\n\n", "\r\n\r\n"])
        line = end[: len(end) // 2]

        def frame(event):
            kind = f"event: {event['type']}{line}" if "type" in event else ""
            return f"{kind}data: {json.dumps(event, ensure_ascii=False)}{end}"

        text = f": hello{end}" + "".join(map(frame, events)) + (f"{done}{end}" if done else "")
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces(text.encode(), pick, 12):
            if piece:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")


ThreadingHTTPServer.request_queue_size = 128
server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
print(server.server_port, flush=True)
server.serve_forever()
sys.exit()
