// A real model computes and reads the clock through the gateway, streamed, in Node.
import assert from "node:assert/strict";
import OpenAI from "openai";

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0, timeout: 600_000 });

async function ask(content, personality_id) {
  const messages = [{ role: "user", content }];
  const answer = await client.chat.completions
    .stream({ model, messages, temperature: 0, personality_id })
    .finalChatCompletion();
  const [{ message, finish_reason }] = answer.choices;
  assert.equal(finish_reason, "stop");
  assert.equal((message.tool_calls ?? []).length, 0);
  console.log(`Node: ${content} -> ${message.content}`);
  return message.content;
}

const product = await ask("Use the calculator tool to multiply 48713 by 9127. Say the result.", "reckoner");
assert.match(product.replaceAll(/[, ]/g, ""), /444603551/);
const year = await ask("Which year is it now?", "clock");
assert.ok(year.includes(String(new Date().getUTCFullYear())), year);
