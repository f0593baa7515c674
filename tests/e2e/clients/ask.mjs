// Asks one thing by Vercel's AI SDK, over its three APIs: ask.mjs BASE PROMPT, the key in KEY.
// PREFIX is the folder with node_modules. Prints the three answers.
import { execSync } from 'node:child_process';
import { createRequire } from 'node:module';

const require = createRequire(`${process.env.PREFIX}/`);
const { generateText, jsonSchema, stepCountIs, streamText, tool } = require('ai');
const { createOpenAI } = require('@ai-sdk/openai');
const { createAnthropic } = require('@ai-sdk/anthropic');

const [base, prompt] = process.argv.slice(2);
const settings = { baseURL: `${base}/v1`, apiKey: process.env.KEY };
const openai = createOpenAI(settings);
const shell = tool({
  description: 'Runs a command',
  inputSchema: jsonSchema({
    type: 'object', properties: { command: { type: 'string' } }, required: ['command'],
  }),
  execute: ({ command }) => execSync(command).toString().trim(),
});
const models = [openai('gpt-5'), openai.chat('gpt-5'), createAnthropic(settings)('claude-sonnet-4-5')];
for (const model of models) {
  const asked = { model, prompt, tools: { shell }, stopWhen: stepCountIs(4), maxRetries: 0 };
  const [streamed, whole] = [await streamText(asked).text, (await generateText(asked)).text];
  console.log(streamed, whole);
}
