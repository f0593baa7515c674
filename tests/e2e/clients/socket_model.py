"""The model of `model.py` over WebSockets alone, which remembers what was said on each, and no more.

    python3 socket_model.py PORT
"""

import json
import sys

from websockets.sync.server import serve

from model import COUNT, responses, turn


def listed(items):
    return [{"role": "user", "content": items}] if isinstance(items, str) else items or []


def talk(socket):
    last = (None, [])
    for frame in socket:
        asked = json.loads(frame)
        previous = asked.pop("previous_response_id", None)
        if asked.pop("type") != "response.create" or (previous and previous != last[0]):
            error = {"type": "invalid_request_error", "code": "previous_response_not_found", "message": "?"}
            socket.send(json.dumps({"type": "error", "status": 400, "error": error}))
            continue
        asked["input"] = (last[1] if previous else []) + listed(asked.get("input"))
        answer = responses(asked | {"stream": True}, *turn(asked), next(COUNT))
        for _, event in answer:
            socket.send(json.dumps(event))
        done = answer[-1][1]["response"]
        last = (done["id"], asked["input"] + done["output"])


with serve(talk, "127.0.0.1", int(sys.argv[1]), max_size=None) as server:
    server.serve_forever()
