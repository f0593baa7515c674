// Random streams through the gateway, read by the makers' own Node libraries, and each answer in which
// the client has a call of its own gone on from.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const [baseURL, count] = [process.argv[2], Number(process.argv[3])];
const openai = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: baseURL.replace(/\/v1$/, ""), apiKey: "none", maxRetries: 0 });
const schema = { type: "object", properties: {} };
const result = JSON.stringify({ done: true });

async function chat(question, mixed) {
  const messages = [{ role: "user", content: question }];
  const leg = async () => {
    const answer = await openai.chat.completions
      .stream({
        model: "m",
        messages,
        stream_options: { include_usage: true },
        ...(mixed && { tools: [{ type: "function", function: { name: "their_tool", parameters: schema } }] }),
      })
      .finalChatCompletion();
    assert.equal(answer.choices.length, 1);
    const [{ message, finish_reason }] = answer.choices;
    const calls = message.tool_calls ?? [];
    assert.equal(finish_reason, calls.length ? "tool_calls" : "stop");
    return { answer, message, calls };
  };
  const { answer, message, calls } = await leg();
  if (mixed) {
    messages.push(message);
    for (const call of calls) messages.push({ role: "tool", tool_call_id: call.id, content: result });
    assert.equal((await leg()).calls.length, 0);
  }
  const told = calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]);
  return [message.content, told, answer.usage.total_tokens];
}

async function responses(question, mixed) {
  const input = [{ role: "user", content: question }];
  const leg = async () => {
    const tool = { type: "function", name: "their_tool", parameters: schema, strict: false };
    const answer = await openai.responses
      .stream({ model: "m", input, store: false, ...(mixed && { tools: [tool] }) })
      .finalResponse();
    return { answer, calls: answer.output.filter((item) => item.type === "function_call") };
  };
  const { answer, calls } = await leg();
  if (mixed) {
    for (const { parsed_arguments, ...item } of answer.output) {
      const content = item.content?.map(({ parsed, ...part }) => part);
      input.push(content ? { ...item, content } : item);
    }
    for (const call of calls)
      input.push({ type: "function_call_output", call_id: call.call_id, output: result });
    assert.equal((await leg()).calls.length, 0);
  }
  const told = calls.map((call) => [call.name, JSON.parse(call.arguments)]);
  return [answer.output_text, told, answer.usage.total_tokens];
}

async function messages(question, mixed) {
  const said = [{ role: "user", content: question }];
  const leg = async () => {
    const answer = await anthropic.messages
      .stream({
        model: "m",
        messages: said,
        max_tokens: 100,
        ...(mixed && { tools: [{ name: "their_tool", input_schema: schema }] }),
      })
      .finalMessage();
    const calls = answer.content.filter((block) => block.type === "tool_use");
    assert.equal(answer.stop_reason, calls.length ? "tool_use" : "end_turn");
    return { answer, calls };
  };
  const { answer, calls } = await leg();
  if (mixed) {
    said.push({ role: "assistant", content: answer.content.map(({ parsed_output, ...block }) => block) });
    const results = calls.map(({ id }) => ({ type: "tool_result", tool_use_id: id, content: result }));
    said.push({ role: "user", content: results });
    assert.equal((await leg()).calls.length, 0);
  }
  const texts = answer.content.filter((block) => block.type === "text").map((block) => block.text);
  const { input_tokens, output_tokens } = answer.usage;
  return [texts.join(""), calls.map((call) => [call.name, call.input]), input_tokens + output_tokens];
}

for (let seed = 0; seed < count; seed++) {
  const [a, b] = [seed * 7 + 1, seed * 13 + 2];
  const api = [chat, responses, messages][seed % 3];
  const mixed = Math.floor(seed / 3) % 3 === 0;
  const [text, calls, tokens] = await api(`${seed} ${a} ${b}`, mixed);
  assert.equal(text, "Let me see, 你好 🦀: " + (mixed ? "" : `=${a * b}`), `seed ${seed}`);
  assert.deepEqual(calls, mixed ? [["their_tool", { seed }]] : [], `seed ${seed}`);
  assert.equal(tokens, mixed ? 8 : 16, `seed ${seed}`);
}
console.log(`Node: ${count} streams, 0 malformed, 0 refused`);
