"""OpenAI's and Anthropic's own libraries through a running yychat: a fact told over one API is known
over the others, tools run whole and streamed, errors are the library's own classes.

    python3 libraries.py ADDRESS KEY
"""

import sys
import time
import warnings

import anthropic
import openai

warnings.simplefilter("ignore", DeprecationWarning)
address, key = sys.argv[1:]
oai = openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0)
ant = anthropic.Anthropic(base_url=address, api_key=key, max_retries=0)
CLAUDE = {"model": "claude-sonnet-4-5", "max_tokens": 100}
QUESTION = "What is my cat called?"


def expect(what, said, part):
    if part not in said:
        sys.exit(f"FAILED: {what}: {said!r} is without {part!r}")
    print(f"ok: {what}")


def ask_chat(text):
    asked = [{"role": "user", "content": text}]
    return oai.chat.completions.create(model="gpt-5", messages=asked).choices[0].message.content


def ask_responses(text):
    return oai.responses.create(model="gpt-5", input=text).output_text


def stream_responses(text):
    with oai.responses.stream(model="gpt-5", input=text) as stream:
        for _ in stream:
            pass
        return stream.get_final_response().output_text


def ask_messages(text):
    asked = [{"role": "user", "content": text}]
    return ant.messages.create(**CLAUDE, messages=asked).content[0].text


def stream_messages(text):
    with ant.messages.stream(**CLAUDE, messages=[{"role": "user", "content": text}]) as stream:
        return stream.get_final_text()


ask_chat("Remember: my cat is called Pixel.")
deadline = time.monotonic() + 30
while "Pixel" not in ask_chat(QUESTION):
    if time.monotonic() > deadline:
        sys.exit("FAILED: what was told over chat completions is not recalled there")
for ask in (ask_chat, ask_responses, stream_responses, ask_messages, stream_messages):
    expect(f"{ask.__name__}: memory", ask(QUESTION), "Pixel")
    expect(f"{ask.__name__}: tool", ask("CALCULATE 6*7"), "42")



def over_socket(connection, **asked):
    connection.send({"type": "response.create", "store": False, **asked})
    for event in connection:
        if event.type in ("response.completed", "error"):
            return event


# Before an upstream without sockets, and before one with nothing else.
for model in ("gpt-5", "gpt-5-socket"):
    with oai.responses.connect() as connection:
        wrong = over_socket(connection, model=model, input=7)
        expect(f"{model}: an error over a socket", str(wrong.to_dict()), "invalid_request_error")
        said = over_socket(connection, model=model, input=QUESTION).response
        expect(f"{model}: memory over a socket", said.output_text, "Pixel")
        said = over_socket(connection, model=model, input="CALCULATE 6*7").response
        expect(f"{model}: tool over a socket", said.output_text, "42")
        more = {"input": QUESTION, "previous_response_id": said.id}
        said = over_socket(connection, model=model, **more).response
        expect(f"{model}: going on over a socket", said.output_text, "Pixel")

first = oai.responses.create(model="gpt-5", input="CALCULATE 6*7")
again = oai.responses.create(model="gpt-5", input=QUESTION, previous_response_id=first.id)
expect("previous_response_id after hidden rounds", again.output_text, "Pixel")
counted = ant.messages.count_tokens(model=CLAUDE["model"], messages=[{"role": "user", "content": "hi"}])
expect("count_tokens", str(counted.input_tokens > 0), "True")
for client in (oai, ant):
    expect("models", str([model.id for model in client.models.list()]), "gpt-5")
try:
    ant.messages.create(**CLAUDE, messages=7)
except anthropic.BadRequestError as error:
    expect("an error of Messages", str(error.body), "invalid_request_error")
try:
    openai.OpenAI(base_url=f"{address}/v1", api_key="wrong", max_retries=0).responses.create(model="gpt-5", input="")
except openai.AuthenticationError as error:
    expect("a wrong key", str(error.body), "invalid_api_key")
