// What OpenAI's Node client sees of the Responses API at GATEWAY_URL.
import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: `${process.env.GATEWAY_URL}/v1`, apiKey: 'unused', maxRetries: 0 });
const question = { input: 'How do I sort a list?', max_output_tokens: 16, temperature: 0 };

test('openai (Node) | /v1/responses | answers', async () => {
  const response = await client.responses.create({ model: 'coding', ...question });
  assert.equal(response.model, 'coding');
  assert.ok(response.output_text.length > 0);
  assert.equal(response.usage.output_tokens, 16);
});

test('openai (Node) | /v1/responses | streams what it answers whole', async () => {
  const whole = await client.responses.create({ model: 'legal', ...question });
  let text = '';
  let done;
  for await (const event of await client.responses.create({ model: 'legal', stream: true, ...question })) {
    if (event.type === 'response.output_text.delta') text += event.delta;
    if (event.type === 'response.completed') done = event.response;
  }
  assert.equal(text, whole.output_text);
  assert.equal(done.model, 'legal');
});

test('openai (Node) | /v1/responses | an unknown model is a NotFoundError', async () => {
  await assert.rejects(client.responses.create({ model: 'nope', ...question }), OpenAI.NotFoundError);
});
