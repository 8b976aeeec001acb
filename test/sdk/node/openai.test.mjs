// What OpenAI's own Node client sees of a gateway at GATEWAY_URL.
import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: `${process.env.GATEWAY_URL}/v1`,
  apiKey: 'unused',
  maxRetries: 0,
});

const question = {
  messages: [{ role: 'user', content: 'How do I sort a list?' }],
  max_tokens: 16,
  temperature: 0,
};

test('openai (Node) | /v1/models | lists models', async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  for (const id of ['demo', 'coding', 'chat', 'medical', 'legal']) assert.ok(ids.includes(id), `${id} in ${ids}`);
  assert.equal((await client.models.retrieve('coding')).id, 'coding');
});

test('openai (Node) | /v1/chat/completions | chats', async () => {
  const answer = await client.chat.completions.create({ model: 'coding', ...question });
  assert.equal(answer.model, 'coding');
  assert.ok(answer.choices[0].message.content.length > 0);
  assert.ok(answer.usage.completion_tokens > 0);
});

test('openai (Node) | /v1/chat/completions | streams what it answers whole', async () => {
  const whole = await client.chat.completions.create({ model: 'legal', ...question });
  const stream = await client.chat.completions.create({ model: 'legal', stream: true, ...question });
  let text = '';
  for await (const chunk of stream) {
    assert.equal(chunk.model, 'legal');
    text += chunk.choices[0]?.delta?.content ?? '';
  }
  assert.equal(text, whole.choices[0].message.content);
});

test('openai (Node) | /v1/completions | completes', async () => {
  const answer = await client.completions.create({ model: 'demo', prompt: 'Hello', max_tokens: 4 });
  assert.equal(answer.model, 'demo');
  assert.equal(answer.choices.length, 1);
});

test('openai (Node) | /v1/chat/completions | an unknown model is a NotFoundError', async () => {
  await assert.rejects(
    client.chat.completions.create({ model: 'nope', ...question }),
    (err) => err instanceof OpenAI.NotFoundError && err.code === 'model_not_found' && err.param === 'model',
  );
  await assert.rejects(client.models.retrieve('nope'), OpenAI.NotFoundError);
});

test('openai (Node) | /v1/chat/completions | a bad request is a BadRequestError', async () => {
  await assert.rejects(
    client.chat.completions.create({ model: 'demo', messages: 'not a list' }),
    (err) => err instanceof OpenAI.BadRequestError && err.type === 'invalid_request_error',
  );
});

test('openai (Node) | /v1/chat/completions | a prompt that is too long is a BadRequestError that says so', async () => {
  const messages = [{ role: 'user', content: 'word '.repeat(5000) }];
  await assert.rejects(
    client.chat.completions.create({ model: 'chat', messages }),
    (err) => err instanceof OpenAI.BadRequestError && err.code === 'context_length_exceeded',
  );
});

test('openai (Node) | /v1/chat/completions | a stream can be left', async () => {
  const stream = await client.chat.completions.create({ model: 'chat', stream: true, ...question });
  for await (const _ of stream) break;
});

test('openai (Node) | /v1/chat/completions | structured output', async () => {
  const answer = await client.chat.completions.create({
    model: 'coding', messages: question.messages, max_tokens: 64,
    response_format: { type: 'json_schema', json_schema: { name: 'city', strict: true, schema: { type: 'object', properties: { city: { enum: ['Rome', 'Oslo'] } }, required: ['city'] } } },
  });
  assert.ok(['Rome', 'Oslo'].includes(JSON.parse(answer.choices[0].message.content).city));
});

test('openai (Node) | /v1/chat/completions | logprobs, seed, stop and two choices', async () => {
  const answer = await client.chat.completions.create({
    model: 'demo', ...question, n: 2, seed: 7, logprobs: true, top_logprobs: 2, stop: ['.'],
  });
  assert.equal(answer.choices.length, 2);
  for (const choice of answer.choices) {
    assert.ok(!choice.message.content.includes('.'));
    assert.equal(choice.logprobs.content[0].top_logprobs.length, 2);
  }
});

test('openai (Node) | /v1/chat/completions | usage at the end of a stream', async () => {
  let usage;
  const stream = await client.chat.completions.create({ model: 'demo', stream: true, stream_options: { include_usage: true }, ...question });
  for await (const chunk of stream) usage = chunk.usage ?? usage;
  assert.equal(usage.completion_tokens, 16);
});

test('openai (Node) | /v1/chat/completions | a time-out', async () => {
  await assert.rejects(
    client.chat.completions.create({ model: 'demo', messages: question.messages, max_tokens: 900, ignore_eos: true }, { timeout: 1 }),
    OpenAI.APIConnectionTimeoutError,
  );
});
