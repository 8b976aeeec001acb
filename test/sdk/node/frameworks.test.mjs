// What the Vercel AI SDK and LangChain see of the gateway.
import assert from 'node:assert/strict';
import test from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { ChatOpenAI } from '@langchain/openai';
import { APICallError, generateObject, generateText, stepCountIs, streamText, tool } from 'ai';
import { caller, cities, cityShape, citySchema, key, occupied, question, retried, url } from './gateway.mjs';

const vercel = (more) => createOpenAICompatible({ name: 'loragate', baseURL: `${url}/v1`, apiKey: key, supportsStructuredOutputs: true, ...more });
const provider = vercel();
const brief = { prompt: question, maxOutputTokens: 16, temperature: 0, maxRetries: 0 };
const long = { prompt: question, maxOutputTokens: 900, maxRetries: 0, providerOptions: { loragate: { ignore_eos: true } } };

test('ai (Vercel) | /v1/chat/completions | answers: whole', async () => {
  const { text, usage } = await generateText({ model: provider('coding'), ...brief });
  assert.ok(text.length > 0);
  assert.equal(usage.outputTokens, 16);
});

test('ai (Vercel) | /v1/chat/completions | streams: what it answers whole', async () => {
  const whole = await generateText({ model: provider('coding'), ...brief });
  let text = '';
  for await (const piece of streamText({ model: provider('coding'), ...brief }).textStream) text += piece;
  assert.equal(text, whole.text);
});

test('ai (Vercel) | /v1/chat/completions | tools: called, and answered', async () => {
  let asked;
  const weather = tool({ description: 'the weather', inputSchema: cityShape, execute: async ({ city }) => { asked = city; return 'warm'; } });
  const { toolCalls, toolResults } = await generateText({ model: provider(caller), ...brief, maxOutputTokens: 100, tools: { weather }, toolChoice: 'required' });
  assert.equal(toolCalls[0].toolName, 'weather');
  assert.ok(cities.includes(asked));
  assert.equal(toolResults[0].output, 'warm');
});

test('ai (Vercel) | /v1/chat/completions | structured output: of a schema', async () => {
  const { object } = await generateObject({ model: provider('demo'), schema: cityShape, prompt: question, temperature: 0, maxRetries: 0 });
  assert.ok(cities.includes(object.city));
});

test('ai (Vercel) | /v1/chat/completions | leaving: in mid-stream gives the place back', async () => {
  const alone = vercel({ apiKey: 'ai-leaves' });
  const leave = new AbortController();
  const { textStream } = streamText({ model: alone('chat'), ...long, abortSignal: leave.signal });
  for await (const _ of textStream) { leave.abort(); break; }
  assert.ok((await generateText({ model: alone('chat'), ...brief, maxRetries: 5 })).usage.outputTokens > 0);
});

test('ai (Vercel) | /v1/chat/completions | retries: after a 429', async () => {
  const { fetch, seen } = await occupied('ai');
  await generateText({ model: vercel({ apiKey: 'ai', fetch })('coding'), ...brief, maxRetries: 5 });
  retried(seen);
});

test('ai (Vercel) | /v1/chat/completions | time-outs: an abort signal', async () => {
  await assert.rejects(generateText({ model: provider('demo'), ...long, abortSignal: AbortSignal.timeout(1) }), /timeout|aborted/i);
});

test('ai (Vercel) | /v1/chat/completions | errors: an APICallError', async () => {
  await assert.rejects(
    generateText({ model: provider('nope'), ...brief }),
    (err) => APICallError.isInstance(err) && err.statusCode === 404,
  );
});

// The default provider's models are those of the Responses API.
const openai = (more) => createOpenAI({ baseURL: `${url}/v1`, apiKey: key, ...more });

test('ai (Vercel) | /v1/responses | answers: whole, in several turns', async () => {
  const messages = [{ role: 'user', content: question }];
  for (let turn = 0; turn < 2; turn++) {
    const { text, usage, finishReason, response } = await generateText({
      model: openai()('coding'), messages, maxOutputTokens: 16, temperature: 0, maxRetries: 0, providerOptions: { openai: { store: false } },
    });
    assert.ok(text.length > 0);
    assert.equal(usage.outputTokens, 16);
    assert.equal(finishReason, 'length');
    messages.push(...response.messages, { role: 'user', content: 'And then?' });
  }
  const { text } = await generateText({ ...brief, model: openai()('coding'), prompt: undefined, messages: [{ role: 'user', content: 'Hi' }, { role: 'assistant', content: 'Hello.' }, { role: 'user', content: question }] });
  assert.ok(text.length > 0);
});

test('ai (Vercel) | /v1/responses | streams: what it answers whole', async () => {
  const whole = await generateText({ model: openai()('coding'), ...brief });
  const stream = streamText({ model: openai()('coding'), ...brief });
  let text = '';
  for await (const piece of stream.textStream) text += piece;
  assert.equal(text, whole.text);
  assert.equal(await stream.finishReason, 'length');
  assert.equal((await stream.usage).outputTokens, 16);
});

test('ai (Vercel) | /v1/responses | tools: called, and answered', async () => {
  let asked;
  const weather = tool({ description: 'the weather', inputSchema: cityShape, execute: async ({ city }) => { asked = city; return 'warm'; } });
  const { steps } = await generateText({ model: openai()(caller), ...brief, maxOutputTokens: 100, tools: { weather }, toolChoice: { type: 'tool', toolName: 'weather' }, stopWhen: stepCountIs(2) });
  assert.equal(steps.length, 2);
  assert.equal(steps[0].toolCalls[0].toolName, 'weather');
  assert.ok(cities.includes(asked));
  const parts = [];
  for await (const part of streamText({ model: openai()(caller), ...brief, maxOutputTokens: 100, tools: { weather }, toolChoice: 'required' }).fullStream) parts.push(part.type);
  for (const type of ['tool-input-start', 'tool-input-delta', 'tool-input-end', 'tool-call', 'tool-result']) assert.ok(parts.includes(type), type);
});

test('ai (Vercel) | /v1/responses | structured output: of a schema', async () => {
  const { object } = await generateObject({ model: openai()('demo'), schema: cityShape, prompt: question, temperature: 0, maxRetries: 0 });
  assert.ok(cities.includes(object.city));
});

test('ai (Vercel) | /v1/responses | leaving: in mid-stream gives the place back', async () => {
  const alone = openai({ apiKey: 'ai-responses-leaves' });
  const leave = new AbortController();
  const { textStream } = streamText({ model: alone('chat'), prompt: question, maxOutputTokens: 900, maxRetries: 0, abortSignal: leave.signal });
  for await (const _ of textStream) { leave.abort(); break; }
  assert.ok((await generateText({ model: alone('chat'), ...brief, maxRetries: 5 })).usage.outputTokens > 0);
});

test('ai (Vercel) | /v1/responses | retries: after a 429', async () => {
  const { fetch, seen } = await occupied('ai-responses');
  await generateText({ model: openai({ apiKey: 'ai-responses', fetch })('coding'), ...brief, maxRetries: 5 });
  retried(seen);
});

test('ai (Vercel) | /v1/responses | time-outs: an abort signal', async () => {
  await assert.rejects(generateText({ model: openai()('demo'), ...brief, maxOutputTokens: 900, abortSignal: AbortSignal.timeout(1) }), /timeout|aborted/i);
});

test('ai (Vercel) | /v1/responses | errors: an APICallError', async () => {
  await assert.rejects(
    generateText({ model: openai()('nope'), ...brief }),
    (err) => APICallError.isInstance(err) && err.statusCode === 404,
  );
});

const langchain = (model, { configuration, ...more } = {}) => new ChatOpenAI({
  model, temperature: 0, maxTokens: 16, maxRetries: 0, apiKey: key, configuration: { baseURL: `${url}/v1`, ...configuration }, ...more,
});
const longChain = (more) => langchain('chat', { maxTokens: 900, modelKwargs: { ignore_eos: true }, ...more });

test('@langchain/openai | /v1/chat/completions | answers: whole', async () => {
  const answer = await langchain('legal').invoke(question);
  assert.ok(answer.content.length > 0);
  assert.equal(answer.usage_metadata.output_tokens, 16);
});

test('@langchain/openai | /v1/chat/completions | streams: what it answers whole', async () => {
  const whole = await langchain('legal').invoke(question);
  let text = '';
  for await (const chunk of await langchain('legal').stream(question)) text += chunk.content;
  assert.equal(text, whole.content);
});

test('@langchain/openai | /v1/chat/completions | tools: called', async () => {
  const weather = { type: 'function', function: { name: 'weather', description: 'the weather', parameters: citySchema } };
  const answer = await langchain(caller, { maxTokens: 100 }).bindTools([weather], { tool_choice: 'required' }).invoke(question);
  assert.equal(answer.tool_calls[0].name, 'weather');
  assert.ok(cities.includes(answer.tool_calls[0].args.city));
});

test('@langchain/openai | /v1/chat/completions | structured output: of a schema', async () => {
  const { city } = await langchain('demo', { maxTokens: 64 }).withStructuredOutput(cityShape, { method: 'jsonSchema' }).invoke(question);
  assert.ok(cities.includes(city));
});

test('@langchain/openai | /v1/chat/completions | leaving: in mid-stream gives the place back', async () => {
  for await (const _ of await longChain({ apiKey: 'langchain-leaves' }).stream(question)) break;
  const answer = await langchain('chat', { apiKey: 'langchain-leaves', maxRetries: 5 }).invoke(question);
  assert.ok(answer.usage_metadata.output_tokens > 0);
});

test('@langchain/openai | /v1/chat/completions | retries: after a 429', async () => {
  const { fetch, seen } = await occupied('langchain');
  await langchain('coding', { apiKey: 'langchain', maxRetries: 5, configuration: { fetch } }).invoke(question);
  retried(seen);
});

test('@langchain/openai | /v1/chat/completions | time-outs: an error', async () => {
  await assert.rejects(longChain({ timeout: 1 }).invoke(question), /time|abort/i);
});

test('@langchain/openai | /v1/chat/completions | errors: the client\'s own', async () => {
  await assert.rejects(langchain('nope').invoke(question), (err) => err.status === 404);
});
