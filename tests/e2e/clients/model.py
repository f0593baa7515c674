"""A model server with three APIs, whole and streamed, whose model says what it was shown.

It calls `calculator` where the user writes CALCULATE and the tool is offered, a program's own shell where he
writes RUN YOUR TOOL, tells the tool's result, and knows what "my …" is called only where its prompt says so.

    python3 model.py PORT [FILE that gets every request as a line: {"path", "headers", "body"}]
"""

import itertools
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COUNT = itertools.count(1)
CALCULATION = {"operation": "multiply", "a": 6, "b": 7}
RESULTS = ("function_call_output", "tool_result")
# What the programs call the tool that runs a command, and what the model runs by it.
SHELLS = ("shell", "shell_command", "exec_command", "bash", "run_shell_command", "run_commands")
ECHO = "echo own-tool-ran"


def text_of(value):
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " ".join(text_of(part) for part in value)
    if isinstance(value, dict):
        return text_of(value.get("text") or value.get("content") or value.get("output") or "")
    return ""


def tools_of(body):
    """The tools that can be called: their names, and the schemas of their arguments."""
    tools = [tool.get("function") or tool for tool in body.get("tools") or []]
    schema = ("parameters", "input_schema")
    return {t["name"]: t.get(schema[0]) or t.get(schema[1]) or {} for t in tools if "name" in t}


def echo(schema):
    """Arguments by which a program's own shell runs ECHO."""
    types = {"string": "own", "boolean": False, "integer": 10000, "number": 10000, "array": []}
    fields = schema.get("properties") or {}
    arguments = {
        name: types.get(fields[name].get("type"), "own") for name in schema.get("required") or [] if name in fields
    }
    for name in ("command", "cmd", "commands"):
        if name in fields:
            several = fields[name].get("type") == "array"
            arguments[name] = [ECHO] if several and name == "commands" else ["sh", "-c", ECHO] if several else ECHO
    return arguments


def turn(body):
    """What the model says: a text, and the call (name, arguments) that it makes, if any."""
    items = body.get("messages") or body.get("input")
    items = [{"role": "user", "content": items}] if isinstance(items, str) else items
    said = [item for item in items if item.get("role") == "user" and text_of(item)]
    # What a client or the gateway adds stands in parts before the user's own.
    content = said[-1].get("content") if said else ""
    parts = [part for part in map(text_of, content) if part] if isinstance(content, list) else [content]
    asked = parts[-1] if parts else ""
    tools = tools_of(body)
    last = items[-1]
    content = last.get("content")
    parts = content if isinstance(content, list) else []
    answered = last.get("role") == "tool" or last.get("type") in RESULTS
    answered = answered or any(part.get("type") in RESULTS for part in parts)
    text = "Noted."
    # smolagents tells its tools' results as the user's words.
    if answered or asked.startswith("Observation:"):
        text = f"The tool says: {text_of(last)}"
    elif "CALCULATE" in asked and "calculator" in tools:
        return "", ("calculator", CALCULATION)
    elif "RUN YOUR TOOL" in asked and (shell := next((t for t in tools if t.lower() in SHELLS), None)):
        return "", (shell, echo(tools[shell]))
    elif question := re.search(r"What is my (\w+) called\?", asked):
        known = re.findall(rf"my {question[1]} is called (\w+)", json.dumps(body))
        text = f"It is called {known[-1]}." if known else "Nobody told me."
    # A forced call is how agents' libraries have their answer told.
    choice = body.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, dict) else choice
    finals = [name for name in tools if name.startswith("final_")]
    if kind in ("required", "any", "function", "tool") and finals:
        return "", (finals[0], {"answer": text})
    return text, None


def chat(body, said, call, number):
    message = {"role": "assistant", "content": said}
    if call:
        function = {"name": call[0], "arguments": json.dumps(call[1])}
        message["tool_calls"] = [{"index": 0, "id": f"call_{number}", "type": "function", "function": function}]
    end = "tool_calls" if call else "stop"
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


def responses(body, said, call, number):
    if call:
        arguments = json.dumps(call[1])
        item = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}"}
        item |= {"name": call[0], "arguments": arguments, "status": "completed"}
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
    begun = item | ({"arguments": ""} if call else {"content": []}) | {"status": "in_progress"}
    open_ = whole | {"status": "in_progress", "output": [], "usage": None}
    events = [("response.created", {"response": open_}), ("response.in_progress", {"response": open_})]
    events += [("response.output_item.added", {"output_index": 0, "item": begun})]
    if call:
        events += [("response.function_call_arguments.delta", at | {"delta": arguments})]
        events += [("response.function_call_arguments.done", at | {"arguments": arguments, "name": call[0]})]
    else:
        inner = at | {"content_index": 0}
        events += [("response.content_part.added", inner | {"part": part | {"text": ""}})]
        events += [("response.output_text.delta", inner | {"delta": said, "logprobs": []})]
        events += [("response.output_text.done", inner | {"text": said, "logprobs": []})]
        events += [("response.content_part.done", inner | {"part": part})]
    events += [("response.output_item.done", {"output_index": 0, "item": item})]
    events += [("response.completed", {"response": whole})]
    return [(name, {"type": name, "sequence_number": n} | data) for n, (name, data) in enumerate(events)]


def messages(body, said, call, number):
    block = {"type": "text", "text": said}
    if call:
        block = {"type": "tool_use", "id": f"toolu_{number}", "name": call[0], "input": call[1]}
    end = {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
    whole = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": body["model"]}
    usage = {"input_tokens": 10, "output_tokens": 5}
    if not body.get("stream"):
        return whole | {"content": [block], "usage": usage} | end
    empty = block | ({"input": {}} if call else {"text": ""})
    delta = {"type": "text_delta", "text": said}
    if call:
        delta = {"type": "input_json_delta", "partial_json": json.dumps(call[1])}
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


LOG = sys.argv[2] if len(sys.argv) > 2 else None
LOCK = threading.Lock()
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
        if LOG:
            with LOCK, open(LOG, "a", encoding="utf-8") as log:
                log.write(json.dumps({"path": path, "headers": dict(self.headers.items()), "body": body}) + "\n")
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


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Model).serve_forever()
