"""Twenty turns in Open WebUI, each with its background tasks, through a running yychat: nothing that it asks for
itself is kept, or gets a personality, memory or tools.

    open_webui.py PROGRAM GATEWAY KEY LOG HOME PORT

LOG is what the scripted model was sent.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

PROGRAM, GATEWAY, KEY, LOG, HOME, PORT = sys.argv[1:]
URL = f"http://127.0.0.1:{PORT}"
TURNS = 20
TASKS = {"title_generation": True, "tags_generation": True, "follow_up_generation": True}
# What `friendly` begins with, and what a memory is told in.
OURS = ("friendly companion", "Notes from earlier conversations")
QUESTION = "What is my heron called?"


def call(method, path, body=None, token=None, base=URL):
    request = urllib.request.Request(base + path, method=method, data=None if body is None else json.dumps(body).encode())
    request.add_header("content-type", "application/json")
    if token:
        request.add_header("authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def start():
    Path(HOME).mkdir(parents=True)
    env = {
        "PATH": os.environ["PATH"], "HOME": HOME, "DATA_DIR": f"{HOME}/data", "LANG": "C.UTF-8",
        "WEBUI_SECRET_KEY": "secret-of-the-test", "OPENAI_API_BASE_URL": f"{GATEWAY}/v1", "OPENAI_API_KEY": KEY,
        "ENABLE_OLLAMA_API": "false", "ENABLE_FORWARD_USER_INFO_HEADERS": "true", "OFFLINE_MODE": "true",
        "HF_HUB_OFFLINE": "1", "RAG_EMBEDDING_ENGINE": "openai", "RAG_OPENAI_API_BASE_URL": f"{GATEWAY}/v1",
        "RAG_OPENAI_API_KEY": KEY, "ANONYMIZED_TELEMETRY": "false", "DO_NOT_TRACK": "true",
    }  # fmt: skip
    with open(f"{HOME}/log", "wb") as log:
        return subprocess.Popen(
            [PROGRAM, "serve", "--host", "127.0.0.1", "--port", PORT], env=env, cwd=HOME, stdout=log, stderr=log
        )


def until(what, ask, seconds=240):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := ask():
                return found
        except (urllib.error.URLError, ConnectionError):
            pass
        if time.monotonic() > deadline:
            sys.exit(f"FAILED: {what}")
        time.sleep(0.3)


def sent():
    return [json.loads(line) for line in Path(LOG).read_text(encoding="utf-8").splitlines()]


def turn(token, messages, chat):
    """One turn as the page sends it; gives what the assistant said, as the chat has it then."""
    asked, answered = messages[-1]["id"], str(uuid.uuid4())
    history = {message["id"]: message for message in messages}
    history[answered] = {
        "id": answered, "role": "assistant", "content": "", "parentId": asked, "childrenIds": [], "models": ["gpt-5"],
        "model": "gpt-5", "timestamp": int(time.time()),
    }  # fmt: skip
    history[asked]["childrenIds"] = [answered]
    stored = {"history": {"messages": history, "currentId": answered}, "models": ["gpt-5"], "title": "New Chat"}
    if chat is None:
        chat = call("POST", "/api/v1/chats/new", {"chat": stored}, token)["id"]
    else:
        call("POST", f"/api/v1/chats/{chat}", {"chat": stored}, token)
    said = [{"role": message["role"], "content": message["content"]} for message in messages]
    body = {
        "model": "gpt-5", "messages": said, "stream": True, "chat_id": chat, "id": answered, "session_id": str(uuid.uuid4()),
        "parent_id": asked, "background_tasks": TASKS, "user_message": messages[-1],
    }  # fmt: skip
    call("POST", "/api/chat/completions", body, token)

    def whole():
        found = call("GET", f"/api/v1/chats/{chat}", token=token)["chat"]["history"]["messages"].get(answered, {})
        return found if found.get("done") else None

    return chat, until("an answer in Open WebUI", whole, 60)


def main():
    open_webui = start()
    try:
        until("Open WebUI starts", lambda: call("GET", "/health"))
        person = {"name": "Ada", "email": "ada@example.com", "password": "a-password-of-the-test"}
        token = call("POST", "/api/v1/auths/signup", person)["token"]
        until("its list of models", lambda: call("GET", "/api/models", token=token)["data"])
        prompts = [f"My friend number {n} likes rain, and my heron is called Hera{n}." for n in range(TURNS - 2)]
        prompts += ["CALCULATE 6*7", QUESTION]
        messages, chat = [], None
        for prompt in prompts:
            if prompt == QUESTION:
                calculated, messages, chat = messages[-1]["content"], [], None
            parent = messages[-1]["id"] if messages else None
            asked = {
                "id": str(uuid.uuid4()), "role": "user", "content": prompt, "parentId": parent, "childrenIds": [],
                "models": ["gpt-5"], "timestamp": int(time.time()),
            }  # fmt: skip
            messages.append(asked)
            chat, answer = turn(token, messages, chat)
            messages.append(answer)
        # Each turn has its own request, and the last tasks may still be on their way.
        until("its tasks", lambda: sum(is_task(request) for request in sent()) >= TURNS)
        judge((calculated, messages[-1]["content"]), prompts)
    finally:
        open_webui.terminate()
        open_webui.wait()


def is_task(request):
    last = (request["body"].get("messages") or [{}])[-1]
    return str(last.get("content")).startswith("### Task:")


def judge(said, prompts):
    tasks = [request["body"] for request in sent() if is_task(request)]
    chats = [json.dumps(request["body"]) for request in sent() if not is_task(request)]
    with_ours = [body for body in tasks if body.get("tools") or any(mark in json.dumps(body) for mark in OURS)]
    works = "42" in said[0] and "Hera" in said[1] and all(any(mark in body for body in chats) for mark in OURS)
    request = urllib.request.Request(f"{GATEWAY}/v1/memories/export", headers={"authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        kept = [json.loads(line) for line in answer if line.strip()]
    strange = [r["text"] for r in kept if r["role"] == "user" and r["text"] not in prompts]
    users = {record["user_id"] for record in kept}
    print(f"Open WebUI: {len(prompts)} turns, {len(tasks)} tasks of its own, {len(with_ours)} of them with ours,")
    print(f"{len(kept)} records kept of {len(users)} user, {len(strange)} of them not said by the user")
    if with_ours or strange or len(users) != 1 or not works:
        sys.exit(f"FAILED: {said!r} {strange} {json.dumps(with_ours)[:2000]}")


main()
