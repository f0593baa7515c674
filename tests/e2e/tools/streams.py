"""Random streams through the gateway, read by OpenAI's own Python library."""

import json
import sys

from openai import OpenAI

base_url, count = sys.argv[1], int(sys.argv[2])
client = OpenAI(base_url=base_url, api_key="none", max_retries=0)
their_tool = {
    "type": "function",
    "function": {"name": "their_tool", "parameters": {"type": "object", "properties": {}}},
}
for seed in range(count):
    a, b = seed * 7 + 1, seed * 13 + 2
    ask = {"model": "m", "messages": [{"role": "user", "content": f"{seed} {a} {b}"}]}
    ask["stream_options"] = {"include_usage": True}
    mixed = seed % 3 == 0
    if mixed:
        ask["tools"] = [their_tool]
    with client.chat.completions.stream(**ask) as stream:
        answer = stream.get_final_completion()
    (choice,) = answer.choices
    message, usage = choice.message, answer.usage
    said = "Let me see, 你好 🦀: " + ("" if mixed else f"={a * b}")
    assert message.content == said, (seed, message)
    assert choice.finish_reason == ("tool_calls" if mixed else "stop"), (seed, choice)
    assert usage.total_tokens == (8 if mixed else 16), (seed, usage)
    calls = [(call.function.name, call.function.arguments) for call in message.tool_calls or []]
    assert calls == ([("their_tool", json.dumps({"seed": seed}))] if mixed else []), (seed, calls)
print(f"Python: {count} streams, 0 malformed")
