"""A model server with three APIs, whole and streamed, whose model says what it was shown.

It calls `calculator` where the user writes CALCULATE and the tool is offered, tells the tool's result,
and knows the cat's name only where a memory told it.

    python3 model.py PORT
"""

import itertools
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COUNT = itertools.count(1)
ARGUMENTS = json.dumps({"operation": "multiply", "a": 6, "b": 7})
RESULTS = ("function_call_output", "tool_result")


def text_of(value):
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " ".join(text_of(part) for part in value)
    if isinstance(value, dict):
        return text_of(value.get("text") or value.get("content") or value.get("output") or "")
    return ""


def turn(body):
    """What the model says: (text, whether it calls the tool)."""
    items = body.get("messages") or body.get("input")
    items = [{"role": "user", "content": items}] if isinstance(items, str) else items
    asked = [item for item in items if item.get("role") == "user" and text_of(item)]
    asked = text_of(asked[-1]) if asked else ""
    names = [tool.get("name") or tool.get("function", {}).get("name") for tool in body.get("tools") or []]
    last = items[-1]
    content = last.get("content")
    parts = content if isinstance(content, list) else []
    answered = last.get("role") == "tool" or last.get("type") in RESULTS
    answered = answered or any(part.get("type") in RESULTS for part in parts)
    if answered:
        return f"The tool says: {text_of(last)}", False
    if "CALCULATE" in asked and "calculator" in names:
        return "", True
    if "called?" in asked:
        knows = "Pixel" in json.dumps(body)
        return ("Your cat is called Pixel." if knows else "Nobody told me."), False
    return "Noted.", False


def chat(body, said, calls, number):
    message = {"role": "assistant", "content": said}
    if calls:
        call = {"index": 0, "id": f"call_{number}", "type": "function"}
        message["tool_calls"] = [call | {"function": {"name": "calculator", "arguments": ARGUMENTS}}]
    end = "tool_calls" if calls else "stop"
    head = {"id": f"chatcmpl-{number}", "created": 1, "model": body["model"]}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    if not body.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": end}
        return head | {"object": "chat.completion", "choices": [choice], "usage": usage}
    head |= {"object": "chat.completion.chunk"}
    choices = [{"index": 0, "delta": message, "finish_reason": None}]
    ending = [{"index": 0, "delta": {}, "finish_reason": end}]
    return [(None, head | {"choices": part}) for part in (choices, ending)] + [
        (None, head | {"choices": [], "usage": usage}),
        (None, "[DONE]"),
    ]


def responses(body, said, calls, number):
    if calls:
        item = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}"}
        item |= {"name": "calculator", "arguments": ARGUMENTS, "status": "completed"}
    else:
        part = {"type": "output_text", "text": said, "annotations": []}
        item = {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed"}
        item |= {"content": [part]}
    whole = {"id": f"resp_{number}", "object": "response", "created_at": 1, "model": body["model"]}
    whole |= {"status": "completed", "output": [item], "tools": [], "tool_choice": "auto"}
    whole |= {"parallel_tool_calls": True, "error": None, "incomplete_details": None}
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    whole |= {"usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15} | details}
    if not body.get("stream"):
        return whole
    at = {"output_index": 0, "item_id": item["id"]}
    begun = item | ({"arguments": ""} if calls else {"content": []}) | {"status": "in_progress"}
    open_ = whole | {"status": "in_progress", "output": [], "usage": None}
    events = [("response.created", {"response": open_}), ("response.in_progress", {"response": open_})]
    events += [("response.output_item.added", {"output_index": 0, "item": begun})]
    if calls:
        events += [("response.function_call_arguments.delta", at | {"delta": ARGUMENTS})]
        events += [("response.function_call_arguments.done", at | {"arguments": ARGUMENTS})]
    else:
        inner = at | {"content_index": 0}
        events += [("response.content_part.added", inner | {"part": part | {"text": ""}})]
        events += [("response.output_text.delta", inner | {"delta": said, "logprobs": []})]
        events += [("response.output_text.done", inner | {"text": said, "logprobs": []})]
        events += [("response.content_part.done", inner | {"part": part})]
    events += [("response.output_item.done", {"output_index": 0, "item": item})]
    events += [("response.completed", {"response": whole})]
    return [(name, {"type": name, "sequence_number": n} | data) for n, (name, data) in enumerate(events)]


def messages(body, said, calls, number):
    block = {"type": "text", "text": said}
    if calls:
        block = {"type": "tool_use", "id": f"toolu_{number}", "name": "calculator"}
        block |= {"input": json.loads(ARGUMENTS)}
    end = {"stop_reason": "tool_use" if calls else "end_turn", "stop_sequence": None}
    whole = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": body["model"]}
    usage = {"input_tokens": 10, "output_tokens": 5}
    if not body.get("stream"):
        return whole | {"content": [block], "usage": usage} | end
    empty = block | ({"input": {}} if calls else {"text": ""})
    delta = {"type": "text_delta", "text": said}
    if calls:
        delta = {"type": "input_json_delta", "partial_json": ARGUMENTS}
    opened = whole | {"content": [], "usage": usage, "stop_reason": None, "stop_sequence": None}
    events = [
        ("message_start", {"message": opened}),
        ("content_block_start", {"index": 0, "content_block": empty}),
        ("content_block_delta", {"index": 0, "delta": delta}),
        ("content_block_stop", {"index": 0}),
        ("message_delta", {"delta": end, "usage": {"output_tokens": 5}}),
        ("message_stop", {}),
    ]
    return [(name, {"type": name} | data) for name, data in events]


APIS = {"/v1/chat/completions": chat, "/v1/responses": responses, "/v1/messages": messages}


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, kind, body, status=200):
        body = body.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        models = [{"id": name, "object": "model"} for name in ("gpt-5", "claude-sonnet-4-5")]
        self.answer("application/json", json.dumps({"object": "list", "data": models}))

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        path = self.path.split("?")[0]
        if path.endswith("/count_tokens"):
            return self.answer("application/json", json.dumps({"input_tokens": len(json.dumps(body)) // 4}))
        if path not in APIS:
            return self.answer("application/json", json.dumps({"error": {"message": "no such route"}}), 404)
        answer = APIS[path](body, *turn(body), next(COUNT))
        if isinstance(answer, dict):
            return self.answer("application/json", json.dumps(answer))
        lines = [
            (f"event: {name}\n" if name else "") + f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n"
            for name, data in answer
        ]
        return self.answer("text/event-stream", "".join(lines))


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Model).serve_forever()
