"""Asks one thing by a Python library: ask.py LIBRARY BASE PROMPT, the key in KEY. Prints the answer.

Each library has a tool of the app's own, as its documentation shows it.
"""

import os
import subprocess
import sys

KEY = os.environ["KEY"]
CHAT = "gpt-4.1-mini"


def shell(command: str) -> str:
    """Runs a command.

    Args:
        command: the command
    """
    return subprocess.run(command, shell=True, capture_output=True, text=True, check=False).stdout.strip()


def openai_agents(base, prompt):
    from agents import Agent, Runner, function_tool, set_default_openai_client, set_tracing_disabled
    from openai import AsyncOpenAI

    set_default_openai_client(AsyncOpenAI(base_url=f"{base}/v1", api_key=KEY, max_retries=0))
    set_tracing_disabled(True)
    agent = Agent(name="Assistant", model=CHAT, tools=[function_tool(shell)])
    return Runner.run_sync(agent, prompt).final_output


def pydantic_ai(base, prompt):
    from openai import AsyncOpenAI
    from pydantic import BaseModel
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    class Answer(BaseModel):
        answer: str

    provider = OpenAIProvider(openai_client=AsyncOpenAI(base_url=f"{base}/v1", api_key=KEY, max_retries=0))
    plain = Agent(OpenAIResponsesModel(CHAT, provider=provider), tools=[shell])
    said = plain.run_sync(prompt).output
    # An output type is a tool that the library forces.
    shaped = Agent(OpenAIChatModel(CHAT, provider=provider), output_type=Answer, tools=[shell])
    return f"{said} {shaped.run_sync(prompt).output.answer}"


def langchain(base, prompt):
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(base_url=f"{base}/v1", api_key=KEY, model=CHAT, max_retries=0).bind_tools([tool(shell)])
    messages = [HumanMessage(prompt)]
    whole = None
    for chunk in model.stream(messages):
        whole = chunk if whole is None else whole + chunk
    if not whole.tool_calls:
        return whole.text
    messages.append(whole)
    messages += [ToolMessage(shell(**call["args"]), tool_call_id=call["id"]) for call in whole.tool_calls]
    return model.invoke(messages).text


def smolagents(base, prompt):
    from smolagents import OpenAIModel, ToolCallingAgent, tool

    model = OpenAIModel(model_id=CHAT, api_base=f"{base}/v1", api_key=KEY, client_kwargs={"max_retries": 0})
    return ToolCallingAgent(tools=[tool(shell)], model=model, max_steps=4, verbosity_level=0).run(prompt)


def anthropic(base, prompt):
    from anthropic import Anthropic, beta_tool

    client = Anthropic(base_url=base, api_key=KEY, max_retries=0)
    runner = client.beta.messages.tool_runner(
        model="claude-sonnet-4-5",
        max_tokens=200,
        tools=[beta_tool(shell)],
        messages=[{"role": "user", "content": prompt}],
    )
    return runner.until_done().content[0].text


print(globals()[sys.argv[1]](*sys.argv[2:]))
