// What Anthropic's own Node client sees of the gateway.
import assert from 'node:assert/strict';
import test from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { caller, cities, citySchema, key, long, occupied, question, retried, url } from './gateway.mjs';

const connect = (more) => new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0, ...more });
const client = connect();
const messages = [{ role: 'user', content: question }];
const brief = { messages, max_tokens: 16, temperature: 0 };
const tools = [{ name: 'weather', description: 'the weather', input_schema: citySchema }];

test('@anthropic-ai/sdk | /v1/messages | answers: whole', async () => {
  const message = await client.messages.create({ model: 'coding', ...brief });
  assert.equal(message.model, 'coding');
  assert.equal(message.content[0].type, 'text');
  assert.ok(message.content[0].text.length > 0);
  assert.equal(message.stop_reason, 'max_tokens');
  assert.equal(message.usage.output_tokens, 16);
});

test('@anthropic-ai/sdk | /v1/messages | streams: what it answers whole', async () => {
  const whole = await client.messages.create({ model: 'legal', ...brief });
  let text = '';
  let begun;
  const stream = client.messages.stream({ model: 'legal', ...brief })
    .on('text', (piece) => { text += piece; })
    .on('streamEvent', (event) => { if (event.type === 'message_start') begun = event.message.usage; });
  const last = await stream.finalMessage();
  assert.equal(text, whole.content[0].text);
  assert.equal(last.content[0].text, whole.content[0].text);
  assert.equal(last.stop_reason, 'max_tokens');
  assert.equal(last.usage.output_tokens, 16);
  const read = last.usage.input_tokens + last.usage.cache_read_input_tokens;
  assert.ok(read > 0);
  assert.equal(begun.input_tokens + begun.cache_read_input_tokens, read);
});

test('@anthropic-ai/sdk | /v1/messages | tools: called, whole and streamed, and answered', async () => {
  const ask = { model: caller, messages, max_tokens: 100, temperature: 0, tools, tool_choice: { type: 'any' } };
  const message = await client.messages.create(ask);
  const call = message.content.find((block) => block.type === 'tool_use');
  assert.equal(message.stop_reason, 'tool_use');
  assert.equal(call.name, 'weather');
  assert.ok(cities.includes(call.input.city));
  const streamed = await client.messages.stream(ask).finalMessage();
  assert.deepEqual(streamed.content.find((block) => block.type === 'tool_use').input, call.input);
  const last = await client.messages.create({
    model: 'demo', max_tokens: 8, tools,
    messages: [...messages, { role: 'assistant', content: message.content }, { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: 'warm' }] }],
  });
  assert.equal(last.type, 'message');
});

test('@anthropic-ai/sdk | /v1/messages | structured output: of a schema', async () => {
  const message = await client.messages.create({
    model: 'coding', messages, max_tokens: 64, temperature: 0, output_config: { format: { type: 'json_schema', schema: citySchema } },
  });
  assert.ok(cities.includes(JSON.parse(message.content[0].text).city));
});

test('@anthropic-ai/sdk | /v1/messages | answers: a conversation with a system prompt', async () => {
  const message = await client.messages.create({
    model: 'chat',
    system: [{ type: 'text', text: 'Be brief.' }],
    messages: [
      { role: 'user', content: [{ type: 'text', text: 'Hello' }] },
      { role: 'assistant', content: 'Hello, friend!' },
      { role: 'user', content: 'What is rain?' },
    ],
    max_tokens: 8,
    stop_sequences: ['stop'],
    top_k: 3,
  });
  assert.equal(message.role, 'assistant');
});

test('@anthropic-ai/sdk | /v1/messages | leaving: in mid-stream gives the place back', async () => {
  const alone = connect({ apiKey: 'anthropic-node-leaves', maxRetries: 5 });
  const stream = await alone.messages.create({ model: 'chat', messages, stream: true, ...long });
  for await (const _ of stream) break;
  assert.ok((await alone.messages.create({ model: 'chat', ...brief })).usage.output_tokens > 0);
});

test('@anthropic-ai/sdk | /v1/messages | retries: after a 429', async () => {
  const { fetch, seen } = await occupied('anthropic-node');
  await connect({ apiKey: 'anthropic-node', maxRetries: 5, fetch }).messages.create({ model: 'coding', ...brief });
  retried(seen);
});

test('@anthropic-ai/sdk | /v1/messages | time-outs: its own error', async () => {
  await assert.rejects(client.messages.create({ model: 'demo', messages, ...long }, { timeout: 1 }), Anthropic.APIConnectionTimeoutError);
});

test('@anthropic-ai/sdk | /v1/messages | errors: its own, each', async () => {
  await assert.rejects(
    client.messages.create({ model: 'nope', ...brief }),
    (err) => err instanceof Anthropic.NotFoundError && err.error.error.type === 'not_found_error' && err.requestID.startsWith('req_'),
  );
  await assert.rejects(client.messages.create({ model: 'demo', max_tokens: 4, messages: [] }), Anthropic.BadRequestError);
  await assert.rejects(connect({ apiKey: 'wrong' }).messages.create({ model: 'demo', ...brief }), Anthropic.AuthenticationError);
});

test('@anthropic-ai/sdk | /v1/messages/count_tokens | answers: counts', async () => {
  const { input_tokens } = await client.messages.countTokens({ model: 'demo', messages });
  assert.ok(input_tokens > 3);
});

test('@anthropic-ai/sdk | /v1/messages/count_tokens | errors: an unknown model', async () => {
  await assert.rejects(client.messages.countTokens({ model: 'nope', messages }), Anthropic.NotFoundError);
});
