// What OpenAI's own Node client sees of the gateway.
import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI from 'openai';
import { caller, cities, citySchema, key, long, occupied, question, retried, url } from './gateway.mjs';

const connect = (more) => new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0, ...more });
const client = connect();
const messages = [{ role: 'user', content: question }];
const brief = { messages, max_tokens: 16, temperature: 0 };
const tools = [{ type: 'function', function: { name: 'weather', description: 'the weather', parameters: citySchema } }];

test('openai (Node) | /v1/models | answers: lists and shows', async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  for (const id of ['demo', 'coding', 'chat', 'medical', 'legal']) assert.ok(ids.includes(id), `${id} in ${ids}`);
  const model = await client.models.retrieve('coding');
  assert.equal(model.id, 'coding');
  assert.equal(model.context_length, 1024);
});

test('openai (Node) | /v1/models | errors: an unknown model', async () => {
  await assert.rejects(client.models.retrieve('nope'), OpenAI.NotFoundError);
});

test('openai (Node) | /v1/chat/completions | answers: whole', async () => {
  const answer = await client.chat.completions.create({ model: 'coding', ...brief });
  assert.equal(answer.model, 'coding');
  assert.ok(answer.choices[0].message.content.length > 0);
  assert.equal(answer.usage.completion_tokens, 16);
});

test('openai (Node) | /v1/chat/completions | streams: what it answers whole', async () => {
  const whole = await client.chat.completions.create({ model: 'legal', ...brief });
  const stream = await client.chat.completions.create({ model: 'legal', stream: true, ...brief });
  let text = '';
  for await (const chunk of stream) {
    assert.equal(chunk.model, 'legal');
    text += chunk.choices[0]?.delta?.content ?? '';
  }
  assert.equal(text, whole.choices[0].message.content);
});

test('openai (Node) | /v1/chat/completions | streams: usage at the end', async () => {
  let usage;
  const stream = await client.chat.completions.create({ model: 'demo', stream: true, stream_options: { include_usage: true }, ...brief });
  for await (const chunk of stream) usage = chunk.usage ?? usage;
  assert.equal(usage.completion_tokens, 16);
});

test('openai (Node) | /v1/chat/completions | tools: called, whole and streamed, and answered', async () => {
  const ask = { model: caller, messages, max_tokens: 100, temperature: 0, tools, tool_choice: 'required' };
  const answer = await client.chat.completions.create(ask);
  const [call] = answer.choices[0].message.tool_calls;
  assert.equal(answer.choices[0].finish_reason, 'tool_calls');
  assert.equal(call.function.name, 'weather');
  assert.ok(cities.includes(JSON.parse(call.function.arguments).city));
  const streamed = await client.chat.completions.stream(ask).finalChatCompletion();
  assert.deepEqual(streamed.choices[0].message.tool_calls[0].function.arguments, call.function.arguments);
  const last = await client.chat.completions.create({
    model: 'demo', max_tokens: 8, tools,
    messages: [...messages, answer.choices[0].message, { role: 'tool', tool_call_id: call.id, content: 'warm' }],
  });
  assert.equal(last.choices[0].message.role, 'assistant');
});

test('openai (Node) | /v1/chat/completions | structured output: of a schema', async () => {
  const answer = await client.chat.completions.create({
    model: 'coding', messages, max_tokens: 64, temperature: 0,
    response_format: { type: 'json_schema', json_schema: { name: 'city', strict: true, schema: citySchema } },
  });
  assert.ok(cities.includes(JSON.parse(answer.choices[0].message.content).city));
});

test('openai (Node) | /v1/chat/completions | answers: with logprobs, seed, stop and two choices', async () => {
  const answer = await client.chat.completions.create({
    model: 'demo', ...brief, n: 2, seed: 7, logprobs: true, top_logprobs: 2, stop: ['.'],
  });
  assert.equal(answer.choices.length, 2);
  for (const choice of answer.choices) {
    assert.ok(!choice.message.content.includes('.'));
    assert.equal(choice.logprobs.content[0].top_logprobs.length, 2);
  }
});

test('openai (Node) | /v1/chat/completions | leaving: in mid-stream gives the place back', async () => {
  const alone = connect({ apiKey: 'openai-node-leaves', maxRetries: 5 });
  const stream = await alone.chat.completions.create({ model: 'chat', messages, stream: true, ...long });
  for await (const _ of stream) break;
  assert.ok((await alone.chat.completions.create({ model: 'chat', ...brief })).usage.total_tokens > 0);
});

test('openai (Node) | /v1/chat/completions | retries: after a 429', async () => {
  const { fetch, seen } = await occupied('openai-node-chat');
  const answer = await connect({ apiKey: 'openai-node-chat', maxRetries: 5, fetch }).chat.completions.create({ model: 'coding', ...brief });
  assert.equal(answer.usage.completion_tokens, 16);
  retried(seen);
});

test('openai (Node) | /v1/chat/completions | time-outs: its own error', async () => {
  await assert.rejects(
    client.chat.completions.create({ model: 'demo', messages, ...long }, { timeout: 1 }),
    OpenAI.APIConnectionTimeoutError,
  );
});

test('openai (Node) | /v1/chat/completions | errors: its own, each', async () => {
  await assert.rejects(
    client.chat.completions.create({ model: 'nope', ...brief }),
    (err) => err instanceof OpenAI.NotFoundError && err.code === 'model_not_found' && err.param === 'model',
  );
  await assert.rejects(
    client.chat.completions.create({ model: 'demo', messages: 'not a list' }),
    (err) => err instanceof OpenAI.BadRequestError && err.type === 'invalid_request_error',
  );
  await assert.rejects(
    client.chat.completions.create({ model: 'chat', messages: [{ role: 'user', content: 'word '.repeat(5000) }] }),
    (err) => err instanceof OpenAI.BadRequestError && err.code === 'context_length_exceeded',
  );
  await assert.rejects(
    connect({ apiKey: 'wrong' }).chat.completions.create({ model: 'demo', ...brief }),
    (err) => err instanceof OpenAI.AuthenticationError && err.code === 'invalid_api_key',
  );
});

test('openai (Node) | /v1/completions | answers: whole', async () => {
  const answer = await client.completions.create({ model: 'demo', prompt: ['Hello', 'What is'], max_tokens: 4 });
  assert.equal(answer.model, 'demo');
  assert.equal(answer.choices.length, 2);
});

test('openai (Node) | /v1/completions | streams: what it answers whole', async () => {
  const ask = { model: 'legal', prompt: 'Hello', max_tokens: 8, temperature: 0 };
  const whole = await client.completions.create(ask);
  let text = '';
  for await (const chunk of await client.completions.create({ ...ask, stream: true })) text += chunk.choices[0]?.text ?? '';
  assert.equal(text, whole.choices[0].text);
});

test('openai (Node) | /v1/completions | leaving: in mid-stream gives the place back', async () => {
  const alone = connect({ apiKey: 'openai-node-completions-leaves', maxRetries: 5 });
  for await (const _ of await alone.completions.create({ model: 'chat', prompt: question, stream: true, ...long })) break;
  assert.ok((await alone.completions.create({ model: 'chat', prompt: question, max_tokens: 4 })).usage.total_tokens > 0);
});

test('openai (Node) | /v1/completions | retries: after a 429', async () => {
  const { fetch, seen } = await occupied('openai-node-completions');
  await connect({ apiKey: 'openai-node-completions', maxRetries: 5, fetch }).completions.create({ model: 'coding', prompt: question, max_tokens: 4 });
  retried(seen);
});

test('openai (Node) | /v1/completions | time-outs: its own error', async () => {
  await assert.rejects(client.completions.create({ model: 'demo', prompt: question, ...long }, { timeout: 1 }), OpenAI.APIConnectionTimeoutError);
});

test('openai (Node) | /v1/completions | errors: an unknown model', async () => {
  await assert.rejects(client.completions.create({ model: 'nope', prompt: question }), OpenAI.NotFoundError);
});

test('openai (Node) | /v1/embeddings | answers: one for each text', async () => {
  const { data, usage } = await client.embeddings.create({ model: 'small', input: ['rain', 'sun'] });
  assert.equal(data.length, 2);
  assert.ok(data[0].embedding.length > 1 && usage.prompt_tokens > 0);
});

test('openai (Node) | /v1/embeddings | errors: an unknown model', async () => {
  await assert.rejects(client.embeddings.create({ model: 'coding', input: 'rain' }), OpenAI.NotFoundError);
});
