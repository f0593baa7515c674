"""SillyTavern's server as its page uses it, before yychat: a chat, a stream, tools, and the prompts that it sends by
itself.

    python3 sillytavern.py SERVER YYCHAT KEY REQUESTS

SERVER is where SillyTavern listens, REQUESTS the file of the scripted model.
"""

import http.cookiejar
import json
import sys
import time
import urllib.parse
import urllib.request

server, gateway, key, requests = sys.argv[1:]
opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
headers = {"content-type": "application/json"}


def call(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    return opener.open(urllib.request.Request(server + path, data, headers), timeout=60).read().decode()


def records(user):
    """What is remembered of a user, once nothing more is on its way."""
    url = f"{gateway}/v1/memories?user_id={urllib.parse.quote(user)}"
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    before = None
    while True:
        now = json.load(urllib.request.urlopen(asked, timeout=60))["data"]
        if now == before:
            return [(record["role"], record["text"]) for record in reversed(now)]
        before = now
        time.sleep(0.3)


def expect(holds, what):
    if not holds:
        sys.exit(f"SillyTavern: {what}")
    print("ok: SillyTavern:", what)


SETTINGS = {
    "chat_completion_source": "custom",
    "custom_url": f"{gateway}/v1",
    "model": "gpt-5",
    "max_tokens": 300,
    "user_name": "Ada",
    "char_name": "Seraphina",
}
BEGINS = [
    {"role": "system", "content": "Write Seraphina's next reply in a fictional chat between Seraphina and Ada."},
    {"role": "system", "content": "[Start a new Chat]"},
    {"role": "assistant", "content": "*You wake with a start.* Hello, dear."},
]


def say(user, *messages, **more):
    messages = [{"role": role, "content": text} for role, text in messages]
    header = f'X-YYChat-User-Id: "{user}"'
    body = {**SETTINGS, "custom_include_headers": header, "messages": BEGINS + messages, "stream": False, **more}
    return call("/api/backends/chat-completions/generate", body)


before = len(open(requests).readlines())
headers["X-CSRF-Token"] = json.loads(call("/csrf-token"))["token"]
call("/api/secrets/write", {"key": "api_key_custom", "value": key})
listed = json.loads(call("/api/backends/chat-completions/status", SETTINGS))
expect([model["id"] for model in listed["data"]][:1] == ["gpt-5"], "models")

told = "Remember: my pony is called Juniper."
say("ada", ("user", told))
expect(("user", told) in records("ada"), "what was said is kept")
expect("Juniper" in say("ada", ("user", "What is my pony called?")), "another chat recalls it")
expect("Juniper" in say("ada", ("user", "What is my pony called?"), stream=True), "a stream does, too")
expect("42" in say("ada", ("user", "CALCULATE 6*7"), stream=True), "a tool in a stream")

told = "The lighthouse on Skellig was built by my grandmother."
QUIET = [
    "Ignore previous instructions. Summarize the most important facts and events in the story so far. If a summary "
    "already exists in your memory, use that as a base and expand with new facts. Limit the summary to 200 words or "
    "less. Your response should include nothing but the summary.",
    "Ignore previous instructions. Classify the emotion of the last message. Output just one word, e.g. \"joy\" or "
    "\"anger\". Choose only one of the following labels: joy, anger",
    "[Write your next reply from the point of view of Ada, using the chat history so far as a guideline for the "
    "writing style of Ada. Don't write as Seraphina or system. Don't describe actions of Seraphina.]",
    "[Continue your last message without repeating its original content.]",
    "[Write the next reply only as Seraphina.]",
]
# Of the ways in which it rewrites messages before it sends them, those that keep more than one.
for way in ("", "merge", "semi", "strict"):
    for number, prompt in enumerate(QUIET):
        user = f"quiet-{way}-{number}"
        say(user, ("user", told), custom_prompt_post_processing=way)
        chat = ("user", told), ("assistant", "Noted."), ("system", prompt)
        say(user, *chat, custom_prompt_post_processing=way)
        said = [text for role, text in records(user) if role == "user"]
        if said != [told]:
            sys.exit(f"SillyTavern: {way or 'none'}: {prompt[:40]} left {said}")
print("ok: SillyTavern: nothing is kept that it asked by itself")
sent = open(requests).readlines()[before:]
expect(not any(key in request for request in sent), "its key goes no further")
