// Random streams through the gateway, read by OpenAI's own Node library.
import assert from "node:assert/strict";
import OpenAI from "openai";

const [baseURL, count] = [process.argv[2], Number(process.argv[3])];
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const theirTool = {
  type: "function",
  function: { name: "their_tool", parameters: { type: "object", properties: {} } },
};
for (let seed = 0; seed < count; seed++) {
  const [a, b] = [seed * 7 + 1, seed * 13 + 2];
  const mixed = seed % 3 === 0;
  const answer = await client.chat.completions
    .stream({
      model: "m",
      messages: [{ role: "user", content: `${seed} ${a} ${b}` }],
      stream_options: { include_usage: true },
      ...(mixed && { tools: [theirTool] }),
    })
    .finalChatCompletion();
  assert.equal(answer.choices.length, 1);
  const [{ message, finish_reason }] = answer.choices;
  assert.equal(message.content, "Let me see, 你好 🦀: " + (mixed ? "" : `=${a * b}`), `seed ${seed}`);
  assert.equal(finish_reason, mixed ? "tool_calls" : "stop", `seed ${seed}`);
  assert.equal(answer.usage.total_tokens, mixed ? 8 : 16);
  const calls = (message.tool_calls ?? []).map((call) => call.function);
  assert.deepEqual(
    calls.map(({ name }) => name),
    mixed ? ["their_tool"] : [],
  );
  if (mixed) assert.deepEqual(JSON.parse(calls[0].arguments), { seed });
}
console.log(`Node: ${count} streams, 0 malformed`);
