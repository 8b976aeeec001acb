// What OpenAI's Node client sees of the Responses API.
import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI from 'openai';
import { zodTextFormat } from 'openai/helpers/zod';
import { caller, cities, cityShape, citySchema, key, occupied, question, retried, url } from './gateway.mjs';

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
    if (event.type === 'response.incomplete') done = event.response;
  }
  assert.equal(text, whole.output_text);
  assert.equal(done.model, 'legal');
});

test('openai (Node) | /v1/responses | streams: helpers', async () => {
  const seen = {};
  let snapshot = '';
  const stream = client.responses.stream({ model: 'coding', ...brief })
    .on('event', (event) => { assert.equal(event.sequence_number, Object.values(seen).reduce((a, b) => a + b, 0)); seen[event.type] = (seen[event.type] ?? 0) + 1; })
    .on('response.output_text.delta', (event) => { snapshot = event.snapshot; });
  const final = await stream.finalResponse();
  assert.equal(final.status, 'incomplete');
  assert.deepEqual(final.incomplete_details, { reason: 'max_output_tokens' });
  assert.equal(final.output_text, snapshot);
  assert.equal(final.usage.output_tokens, 16);
  const whole = await client.responses.create({ model: 'coding', ...brief });
  assert.equal(whole.output_text, final.output_text);
  assert.deepEqual(Object.keys(whole).sort(), Object.keys({ ...final, output_parsed: undefined }).filter((k) => k !== 'output_parsed').sort());
  for (const type of ['created', 'in_progress', 'output_item.added', 'content_part.added', 'output_text.done', 'content_part.done', 'output_item.done', 'incomplete']) {
    assert.equal(seen[`response.${type}`], 1, type);
  }
});

test('openai (Node) | /v1/responses | tools: streamed, with helpers', async () => {
  const tools = ['weather', 'time'].map((name) => ({ type: 'function', name, parameters: citySchema, strict: true }));
  let snapshot;
  const stream = client.responses.stream({ model: caller, input: question, max_output_tokens: 100, temperature: 0, tools, tool_choice: { type: 'function', name: 'time' } })
    .on('response.function_call_arguments.delta', (event) => { snapshot = event.snapshot; });
  let done;
  stream.on('response.function_call_arguments.done', (event) => { done = event.arguments; });
  const final = await stream.finalResponse();
  const call = final.output.find((item) => item.type === 'function_call');
  assert.equal(call.name, 'time');
  assert.equal(call.arguments, done);
  assert.equal(call.arguments, snapshot);
  assert.ok(cities.includes(call.parsed_arguments.city));
  assert.equal(final.tools.length, 2);
  assert.deepEqual(final.tool_choice, { type: 'function', name: 'time' });
});

test('openai (Node) | /v1/responses | structured output: parsed, of a stream', async () => {
  const final = await client.responses.stream({
    model: 'coding', input: question, max_output_tokens: 64, temperature: 0, text: { format: zodTextFormat(cityShape, 'city') },
  }).finalResponse();
  assert.ok(cities.includes(final.output_parsed.city));
});

test('openai (Node) | /v1/responses | answers: what came before is taken back', async () => {
  const input = [{ role: 'user', content: question }];
  for (let turn = 0; turn < 3; turn++) {
    const response = await client.responses.create({ model: 'chat', input, max_output_tokens: 8, temperature: 0, store: true });
    input.push(...response.output, { role: 'user', content: 'And then?' });
  }
  assert.equal(input.length, 7);
});

test('openai (Node) | /v1/responses | errors: what is not stored', async () => {
  await assert.rejects(client.responses.retrieve('resp_1'), OpenAI.NotFoundError);
  await assert.rejects(client.responses.cancel('resp_1'), OpenAI.NotFoundError);
  await assert.rejects(client.responses.inputItems.list('resp_1').asResponse(), OpenAI.NotFoundError);
  await assert.rejects(client.responses.delete('resp_1'), OpenAI.NotFoundError);
  await assert.rejects(client.conversations.create({}), OpenAI.NotFoundError);
  await assert.rejects(client.batches.list().asResponse(), OpenAI.NotFoundError);
  await assert.rejects(client.files.list().asResponse(), OpenAI.NotFoundError);
  await assert.rejects(
    client.responses.create({ model: 'chat', ...brief, previous_response_id: 'resp_1' }),
    (err) => err instanceof OpenAI.BadRequestError && err.param === 'previous_response_id',
  );
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
