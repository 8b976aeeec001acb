// What Anthropic's own Node client sees of a gateway at GATEWAY_URL.
import assert from 'node:assert/strict';
import test from 'node:test';
import Anthropic from '@anthropic-ai/sdk';

const client = new Anthropic({ baseURL: process.env.GATEWAY_URL, apiKey: 'unused', maxRetries: 0 });

const question = {
  messages: [{ role: 'user', content: 'How do I sort a list?' }],
  max_tokens: 16,
  temperature: 0,
};

test('@anthropic-ai/sdk | /v1/messages | answers', async () => {
  const message = await client.messages.create({ model: 'coding', ...question });
  assert.equal(message.model, 'coding');
  assert.equal(message.content[0].type, 'text');
  assert.ok(message.content[0].text.length > 0);
  assert.equal(message.stop_reason, 'max_tokens');
  assert.equal(message.usage.output_tokens, 16);
});

test('@anthropic-ai/sdk | /v1/messages | streams what it answers whole', async () => {
  const whole = await client.messages.create({ model: 'legal', ...question });
  let text = '';
  const stream = client.messages.stream({ model: 'legal', ...question }).on('text', (piece) => { text += piece; });
  const last = await stream.finalMessage();
  assert.equal(text, whole.content[0].text);
  assert.equal(last.content[0].text, whole.content[0].text);
  assert.equal(last.stop_reason, 'max_tokens');
  assert.equal(last.usage.output_tokens, 16);
  assert.ok(last.usage.input_tokens + last.usage.cache_read_input_tokens > 0);
});

test('@anthropic-ai/sdk | /v1/messages | takes a conversation with a system prompt', async () => {
  const message = await client.messages.create({
    model: 'chat',
    system: [{ type: 'text', text: 'Be brief.' }],
    messages: [
      { role: 'user', content: [{ type: 'text', text: 'Hello' }] },
      { role: 'assistant', content: 'Hello, friend!' },
      { role: 'user', content: 'What is rain?' },
    ],
    max_tokens: 8,
  });
  assert.equal(message.role, 'assistant');
});

test('@anthropic-ai/sdk | /v1/messages/count_tokens | counts tokens', async () => {
  const { input_tokens } = await client.messages.countTokens({ model: 'demo', messages: question.messages });
  assert.ok(input_tokens > 3);
});

test('@anthropic-ai/sdk | /v1/messages | an unknown model is a NotFoundError', async () => {
  await assert.rejects(
    client.messages.create({ model: 'nope', ...question }),
    (err) => err instanceof Anthropic.NotFoundError && err.error.error.type === 'not_found_error' && err.requestID.startsWith('req_'),
  );
});

test('@anthropic-ai/sdk | /v1/messages | a bad request is a BadRequestError', async () => {
  await assert.rejects(client.messages.create({ model: 'demo', max_tokens: 4, messages: [] }), Anthropic.BadRequestError);
});

test('@anthropic-ai/sdk | /v1/messages | a stream can be left', async () => {
  const stream = await client.messages.create({ model: 'chat', stream: true, ...question });
  for await (const _ of stream) break;
});

const weather = { name: 'weather', description: 'the weather', input_schema: { type: 'object', properties: { city: { enum: ['Rome', 'Oslo'] } }, required: ['city'] } };

test('@anthropic-ai/sdk | /v1/messages | takes the result of a tool', async () => {
  const message = await client.messages.create({
    model: 'demo', max_tokens: 8, tools: [weather],
    messages: [
      { role: 'user', content: 'Is it warm?' },
      { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1', name: 'weather', input: { city: 'Rome' } }] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'warm' }] },
    ],
  });
  assert.equal(message.type, 'message');
});
