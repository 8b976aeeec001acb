// What OpenAI's Node client sees of the Responses API.
import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI from 'openai';
import { caller, cities, citySchema, key, occupied, question, retried, url } from './gateway.mjs';

const connect = (more) => new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0, ...more });
const client = connect();
const brief = { input: question, max_output_tokens: 16, temperature: 0 };
const long = { input: question, max_output_tokens: 900, ignore_eos: true };

test('openai (Node) | /v1/responses | answers: whole', async () => {
  const response = await client.responses.create({ model: 'coding', ...brief });
  assert.equal(response.model, 'coding');
  assert.ok(response.output_text.length > 0);
  assert.equal(response.usage.output_tokens, 16);
});

test('openai (Node) | /v1/responses | streams: what it answers whole', async () => {
  const whole = await client.responses.create({ model: 'legal', ...brief });
  let text = '';
  let done;
  for await (const event of await client.responses.create({ model: 'legal', stream: true, ...brief })) {
    if (event.type === 'response.output_text.delta') text += event.delta;
    if (event.type === 'response.completed') done = event.response;
  }
  assert.equal(text, whole.output_text);
  assert.equal(done.model, 'legal');
});

test('openai (Node) | /v1/responses | tools: called and answered', async () => {
  const tools = [{ type: 'function', name: 'weather', description: 'the weather', parameters: citySchema, strict: true }];
  const response = await client.responses.create({ model: caller, input: question, max_output_tokens: 100, temperature: 0, tools, tool_choice: 'required' });
  const call = response.output.find((item) => item.type === 'function_call');
  assert.equal(call.name, 'weather');
  assert.ok(cities.includes(JSON.parse(call.arguments).city));
  const last = await client.responses.create({
    model: 'demo', max_output_tokens: 8, tools,
    input: [{ role: 'user', content: question }, call, { type: 'function_call_output', call_id: call.call_id, output: 'warm' }],
  });
  assert.equal(last.object, 'response');
});

test('openai (Node) | /v1/responses | structured output: of a schema', async () => {
  const response = await client.responses.create({
    model: 'coding', input: question, max_output_tokens: 64, temperature: 0,
    text: { format: { type: 'json_schema', name: 'city', strict: true, schema: citySchema } },
  });
  assert.ok(cities.includes(JSON.parse(response.output_text).city));
});

test('openai (Node) | /v1/responses | leaving: in mid-stream gives the place back', async () => {
  const alone = connect({ apiKey: 'openai-node-responses-leaves', maxRetries: 5 });
  for await (const event of await alone.responses.create({ model: 'chat', stream: true, ...long })) {
    if (event.type === 'response.output_text.delta') break;
  }
  assert.ok((await alone.responses.create({ model: 'chat', ...brief })).usage.total_tokens > 0);
});

test('openai (Node) | /v1/responses | retries: after a 429', async () => {
  const { fetch, seen } = await occupied('openai-node-responses');
  await connect({ apiKey: 'openai-node-responses', maxRetries: 5, fetch }).responses.create({ model: 'coding', ...brief });
  retried(seen);
});

test('openai (Node) | /v1/responses | time-outs: its own error', async () => {
  await assert.rejects(client.responses.create({ model: 'demo', ...long }, { timeout: 1 }), OpenAI.APIConnectionTimeoutError);
});

test('openai (Node) | /v1/responses | errors: an unknown model', async () => {
  await assert.rejects(client.responses.create({ model: 'nope', ...brief }), OpenAI.NotFoundError);
});
