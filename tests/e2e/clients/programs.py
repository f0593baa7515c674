"""Client programs and libraries, each directly and through a running yychat, for what clients.sh promises.

    programs.py PREFIX MODEL GATEWAY KEY LOG HOMES [NAME…]

PREFIX has node_modules, and Python environments in v/ and aider/. MODEL and GATEWAY are addresses, LOG is what the
scripted model was sent, and each program gets homes of its own under HOMES. Prints a table.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

HERE = Path(__file__).parent
PREFIX, MODEL, GATEWAY, KEY, LOG, HOMES = sys.argv[1:7]
HELLO, OWN_TOOL, CALCULATE = "Say hello.", "RUN YOUR TOOL", "CALCULATE 6*7"
THINGS = "cat dog horse boat bicycle parrot hamster sister cousin guitar robot garden village turtle tractor canary pony teacher".split()
NAMES = "Pixel Bruno Stella Nautilus Comet Coco Biscuit Marta Henrik Lucille Marvin Eden Ullapool Speedy Fergus Tweety Juniper Okafor".split()


@dataclass
class Client:
    """In its texts $BASE is the address of an API, $KEY the key, $PREFIX and $HOME folders."""

    name: str
    package: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    own_tool: bool = True
    # Where every answer is a forced call of the app's, none of the gateway's tools is offered.
    gateway_tool: bool = True
    first: list[str] = field(default_factory=list)


def opencode(provider, api):
    return Client(
        f"opencode ({api})",
        "opencode-ai",
        ["opencode", "run"],
        files={
            ".config/opencode/opencode.json": """{"model": "yychat/gpt-5", "autoupdate": false, "provider": {"yychat":
 {"npm": "%s", "name": "yychat", "options": {"baseURL": "$BASE/v1", "apiKey": "$KEY"},
  "models": {"gpt-5": {"name": "gpt-5"}}}}}""" % provider
        },
    )


def library(name, package, **rest):
    command = ["$PREFIX/v/bin/python", "-W", "ignore", f"{HERE}/ask.py", name.replace("-", "_"), "$BASE"]
    return Client(name, package, command, **rest)


CLIENTS = [
    Client(
        "codex",
        "@openai/codex",
        ["codex", "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"],
        files={
            ".codex/config.toml": """
model = "gpt-5"
model_provider = "yychat"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.yychat]
name = "yychat"
base_url = "$BASE/v1"
env_key = "KEY"
wire_api = "responses"
"""
        },
    ),
    Client(
        "claude-code",
        "@anthropic-ai/claude-code",
        ["claude", "--dangerously-skip-permissions", "-p"],
        env={
            "ANTHROPIC_BASE_URL": "$BASE",
            "ANTHROPIC_AUTH_TOKEN": "$KEY",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        },
    ),
    opencode("@ai-sdk/openai-compatible", "chat"),
    opencode("@ai-sdk/openai", "responses"),
    opencode("@ai-sdk/anthropic", "messages"),
    Client(
        "qwen-code",
        "@qwen-code/qwen-code",
        ["qwen", "-y", "-p"],
        env={"OPENAI_BASE_URL": "$BASE/v1", "OPENAI_API_KEY": "$KEY", "OPENAI_MODEL": "gpt-5"},
    ),
    Client(
        "cline",
        "cline",
        ["cline"],
        first=["cline", "auth", "--provider", "openai", "--apikey", "$KEY", "--baseurl", "$BASE/v1", "--modelid", "gpt-5"],
    ),
    Client(
        "pi",
        "@mariozechner/pi-coding-agent",
        ["pi", "--provider", "yychat", "--model", "gpt-5", "-p"],
        env={"PI_OFFLINE": "1"},
        files={
            ".pi/agent/models.json": """{"providers": {"yychat": {"baseUrl": "$BASE/v1", "api": "openai-completions",
 "apiKey": "$KEY", "models": [{"id": "gpt-5"}]}}}"""
        },
    ),
    Client(
        "cn",
        "@continuedev/cli",
        ["cn", "--config", "$HOME/config.yaml", "--auto", "-p"],
        files={
            "config.yaml": """
name: yychat
version: 1.0.0
schema: v1
models:
  - {name: yychat, provider: openai, model: gpt-4.1-mini, apiBase: "$BASE/v1", apiKey: $KEY, roles: [chat]}
"""
        },
    ),
    Client(
        "aider",
        "aider-chat",
        ["$PREFIX/aider/bin/aider", "--model", "openai/gpt-4.1-mini", "--no-git", "--yes-always", "--no-check-update"]
        + ["--analytics-disable", "--no-show-model-warnings", "--no-pretty", "--message"],
        env={"OPENAI_API_BASE": "$BASE/v1", "OPENAI_API_KEY": "$KEY"},
        own_tool=False,
    ),
    Client(
        "llm",
        "llm",
        ["$PREFIX/v/bin/llm", "-m", "yychat", "--key", "$KEY"],
        files={
            ".config/io.datasette.llm/extra-openai-models.yaml": """
- {model_id: yychat, model_name: gpt-4.1-mini, api_base: "$BASE/v1", api_key_name: yychat}
"""
        },
        own_tool=False,
    ),
    library("openai-agents", "openai-agents"),
    library("pydantic-ai", "pydantic-ai-slim"),
    library("langchain", "langchain-openai"),
    library("smolagents", "smolagents", gateway_tool=False),
    library("anthropic", "anthropic"),
    Client("ai-sdk", "ai", ["node", f"{HERE}/ask.mjs", "$BASE"], env={"PREFIX": "$PREFIX"}),
]


class Side:
    """A client before one address, in a home of its own."""

    def __init__(self, client, base, side):
        self.client = client
        self.home = Path(HOMES) / side / re.sub(r"\W+", "-", client.name)
        words = {"BASE": base, "KEY": KEY, "PREFIX": PREFIX, "HOME": str(self.home)}
        self.fill = lambda text: Template(text).safe_substitute(words)
        for name, text in client.files.items():
            path = self.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.fill(text), encoding="utf-8")
        self.home.mkdir(parents=True, exist_ok=True)
        path = f"{PREFIX}/node_modules/.bin:{PREFIX}/v/bin:{os.environ['PATH']}"
        self.env = {"PATH": path, "HOME": str(self.home), "LANG": "C.UTF-8", "TERM": "dumb", "KEY": KEY}
        self.env |= {"IS_SANDBOX": "1", "DO_NOT_TRACK": "1", "OPENAI_AGENTS_DISABLE_TRACING": "1"}
        self.env |= {name: self.fill(text) for name, text in client.env.items()}
        if client.first:
            self.run(client.first)

    def run(self, command):
        """The exit status and what was printed."""
        try:
            done = subprocess.run(
                [self.fill(part) for part in command],
                cwd=self.home,
                env=self.env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=180,
                check=False,
            )
            said = done.stdout.decode("utf-8", "replace")
            if done.returncode:
                said += done.stderr.decode("utf-8", "replace")
            return done.returncode, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said)
        except subprocess.TimeoutExpired:
            return "timeout", ""
        finally:
            self.end()

    def ask(self, prompt):
        return self.run([*self.client.command, prompt])

    def end(self):
        """Ends what the program left running: those whose home is this one."""
        mark = f"HOME={self.home}\0".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes():
                    os.kill(int(process.name), signal.SIGTERM)
            except OSError:
                pass


def outcome(home, said):
    """What does not differ from one run to the next: no numbers, no ids, no paths."""
    status, text = said
    return status, re.sub(r"[0-9a-f.]*\d[0-9a-f.]*k?", "#", text.replace(str(home), "~")).strip()


def kept():
    request = urllib.request.Request(f"{GATEWAY}/v1/memories/export")
    request.add_header("authorization", f"Bearer {KEY}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return [json.loads(line) for line in answer if line.strip()]


def wait_kept(text):
    deadline = time.monotonic() + 30
    while not any(text in record["text"] for record in kept()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def version(package):
    at = Path(PREFIX) / "node_modules" / package / "package.json"
    if at.exists():
        return json.loads(at.read_text(encoding="utf-8"))["version"]
    # aider's environment has older ones of the others' libraries.
    for environment in ("v", "aider"):
        place = Path(PREFIX, environment).glob(f"lib/python3*/site-packages/{package.replace('-', '_')}-*.dist-info")
        for meta in place:
            return meta.name.removesuffix(".dist-info").rsplit("-", 1)[1]
    return "?"


def requests():
    return [json.loads(line) for line in Path(LOG).read_text(encoding="utf-8").splitlines()]


def try_client(client, number, problems):
    """One row of the table."""
    prompts = []
    direct, through = Side(client, MODEL, "direct"), Side(client, GATEWAY, "through")

    def same(prompt, needs):
        a, b = direct.ask(prompt), through.ask(prompt)
        prompts.append(prompt)
        good = outcome(direct.home, a) == outcome(through.home, b) and a[0] == 0 and needs in b[1]
        if not good:
            problems.append(f"{client.name}: {prompt}: directly {a}, through yychat {b}")
        return "yes" if good else "NO"

    def says(prompt, needs):
        status, text = through.ask(prompt)
        prompts.append(prompt)
        if status != 0 or needs not in text:
            problems.append(f"{client.name}: {prompt}: {needs} is not in {status} {text}")
            return "NO"
        return "yes"

    before, seen = {record["id"] for record in kept()}, len(requests())
    row = [client.name, version(client.package)]
    checks = [same(HELLO, "Noted.")]
    checks.append(same(OWN_TOOL, "own-tool-ran") if client.own_tool else "-")
    checks.append(says(CALCULATE, "42") if client.gateway_tool else "-")
    checks.append(says(f"What is my {THINGS[number]} called?", NAMES[number]))
    fact = f"Remember: my {THINGS[number + 1]} is called {NAMES[number + 1]}."
    checks.append(says(fact, "Noted."))
    if not wait_kept(fact):
        problems.append(f"{client.name}: {fact} was not kept")
        checks[-1] = "NO"
    new = [record for record in kept() if record["id"] not in before and record["role"] == "user"]
    # opencode puts its argument into quotes.
    strange = [record["text"] for record in new if record["text"].strip('"') not in [*prompts, fact]]
    if strange:
        problems.append(f"{client.name}: kept what nobody said: {strange}")
    checks.append("NO" if strange else "yes")
    apis = {request["path"].rsplit("/", 1)[1] for request in requests()[seen:]} & {"completions", "responses", "messages"}
    apis = ["chat" if api == "completions" else api for api in sorted(apis)]
    return [*row, ", ".join(apis), *checks]


def tell_first():
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": f"Remember: my {THINGS[0]} is called {NAMES[0]}."}]}
    request = urllib.request.Request(f"{GATEWAY}/v1/chat/completions", json.dumps(body).encode())
    request.add_header("authorization", f"Bearer {KEY}")
    request.add_header("content-type", "application/json")
    urllib.request.urlopen(request, timeout=30).read()
    wait_kept(NAMES[0])


def main():
    wanted = sys.argv[7:]
    clients = [client for client in CLIENTS if not wanted or client.name.split()[0] in wanted]
    tell_first()
    problems = []
    head = ["client", "version", "API", "as directly", "own tool", "yychat's tool", "recalls another's", "tells", "keeps only what was said"]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|", flush=True)
    for number, client in enumerate(clients):
        print("| " + " | ".join(try_client(client, number, problems)) + " |", flush=True)
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


main()
