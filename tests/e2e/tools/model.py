"""A real model computes and reads the clock through the gateway, streamed, in Python."""

import datetime
import sys

from openai import OpenAI

client = OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)


def ask(question, personality):
    message = {"role": "user", "content": question}
    with client.chat.completions.stream(
        model=sys.argv[2],
        messages=[message],
        temperature=0,
        extra_body={"personality_id": personality},
    ) as stream:
        answer = stream.get_final_completion()
    (choice,) = answer.choices
    assert choice.finish_reason == "stop", choice
    assert not choice.message.tool_calls, choice
    print(f"Python: {question} -> {choice.message.content}")
    return choice.message.content


product = ask("Use the calculator tool to multiply 48713 by 9127. Say the result.", "reckoner")
assert "444603551" in product.replace(",", "").replace(" ", ""), product
year = ask("Which year is it now?", "clock")
assert str(datetime.datetime.now(datetime.UTC).year) in year, year
