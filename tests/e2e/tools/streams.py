"""Random streams through the gateway, read by the makers' own Python libraries, and each answer in
which the client has a call of its own gone on from."""

import json
import sys

from anthropic import Anthropic
from openai import OpenAI

base_url, count = sys.argv[1], int(sys.argv[2])
openai = OpenAI(base_url=base_url, api_key="none", max_retries=0)
anthropic = Anthropic(base_url=base_url.removesuffix("/v1"), api_key="none", max_retries=0)
schema = {"type": "object", "properties": {}}
RESULT = json.dumps({"done": True})
SAID = "Let me see, 你好 🦀: "


def chat(question, mixed):
    messages = [{"role": "user", "content": question}]
    ask = {"model": "m", "messages": messages, "stream_options": {"include_usage": True}}
    if mixed:
        function = {"name": "their_tool", "parameters": schema}
        ask["tools"] = [{"type": "function", "function": function}]

    def leg():
        with openai.chat.completions.stream(**ask) as stream:
            answer = stream.get_final_completion()
        (choice,) = answer.choices
        message = choice.message
        calls = [(call.function.name, call.function.arguments) for call in message.tool_calls or []]
        assert choice.finish_reason == ("tool_calls" if calls else "stop"), choice
        return message.content, calls, answer.usage.total_tokens, message

    text, calls, tokens, message = leg()
    if mixed:
        messages.append(message.model_dump(exclude_none=True, exclude={"parsed"}))
        for call in message.tool_calls:
            messages.append({"role": "tool", "tool_call_id": call.id, "content": RESULT})
        assert not leg()[1]
    return text, calls, tokens


def responses(question, mixed):
    items = [{"role": "user", "content": question}]
    ask = {"model": "m", "input": items, "store": False}
    if mixed:
        tool = {"type": "function", "name": "their_tool", "parameters": schema, "strict": False}
        ask["tools"] = [tool]

    def leg():
        with openai.responses.stream(**ask) as stream:
            numbers = [event.sequence_number for event in stream]
            answer = stream.get_final_response()
        assert numbers == list(range(len(numbers))), numbers
        calls = [item for item in answer.output if item.type == "function_call"]
        return answer, [(call.name, call.arguments) for call in calls]

    answer, calls = leg()
    if mixed:
        members = {"parsed_arguments", "parsed"}
        for item in answer.output:
            items.append(item.model_dump(exclude_none=True, exclude=members, mode="json"))
            for part in items[-1].get("content") or []:
                part.pop("parsed", None)
        for item in answer.output:
            if item.type == "function_call":
                output = {"type": "function_call_output", "call_id": item.call_id, "output": RESULT}
                items.append(output)
        assert not leg()[1]
    return answer.output_text, calls, answer.usage.total_tokens


def messages(question, mixed):
    said = [{"role": "user", "content": question}]
    ask = {"model": "m", "messages": said, "max_tokens": 100}
    if mixed:
        ask["tools"] = [{"name": "their_tool", "input_schema": schema}]

    def leg():
        with anthropic.messages.stream(**ask) as stream:
            answer = stream.get_final_message()
        calls = [block for block in answer.content if block.type == "tool_use"]
        assert answer.stop_reason == ("tool_use" if calls else "end_turn"), answer
        return answer, calls

    answer, calls = leg()
    if mixed:
        content = [block.model_dump(exclude_none=True, mode="json") for block in answer.content]
        for block in content:
            block.pop("parsed_output", None)
        said.append({"role": "assistant", "content": content})
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": RESULT} for call in calls
        ]
        said.append({"role": "user", "content": results})
        assert not leg()[1]
    text = "".join(block.text for block in answer.content if block.type == "text")
    tokens = answer.usage.input_tokens + answer.usage.output_tokens
    return text, [(call.name, json.dumps(call.input)) for call in calls], tokens


for seed in range(count):
    a, b = seed * 7 + 1, seed * 13 + 2
    api = (chat, responses, messages)[seed % 3]
    mixed = seed // 3 % 3 == 0
    text, calls, tokens = api(f"{seed} {a} {b}", mixed)
    assert text == SAID + ("" if mixed else f"={a * b}"), (seed, text)
    assert calls == ([("their_tool", json.dumps({"seed": seed}))] if mixed else []), (seed, calls)
    assert tokens == (8 if mixed else 16), (seed, tokens)
print(f"Python: {count} streams, 0 malformed, 0 refused")
