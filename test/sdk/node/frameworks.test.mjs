// What the Vercel AI SDK and LangChain see of a gateway at GATEWAY_URL.
import assert from 'node:assert/strict';
import test from 'node:test';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { ChatOpenAI } from '@langchain/openai';
import { APICallError, generateObject, generateText, streamText } from 'ai';
import { z } from 'zod';

const provider = createOpenAICompatible({ name: 'loragate', baseURL: `${process.env.GATEWAY_URL}/v1`, apiKey: 'unused', supportsStructuredOutputs: true });
const question = { prompt: 'How do I sort a list?', maxOutputTokens: 16, temperature: 0, maxRetries: 0 };

test('ai with @ai-sdk/openai-compatible | /v1/chat/completions | generates and streams the same', async () => {
  const whole = await generateText({ model: provider('coding'), ...question });
  assert.ok(whole.text.length > 0);
  assert.equal(whole.usage.outputTokens, 16);
  const { textStream } = streamText({ model: provider('coding'), ...question });
  let text = '';
  for await (const piece of textStream) text += piece;
  assert.equal(text, whole.text);
});

test('ai with @ai-sdk/openai-compatible | /v1/chat/completions | structured output', async () => {
  const { object } = await generateObject({
    model: provider('demo'), schema: z.object({ answer: z.enum(['yes', 'no']) }), prompt: 'Is rain water?', maxRetries: 0,
  });
  assert.ok(['yes', 'no'].includes(object.answer));
});

test('ai with @ai-sdk/openai-compatible | /v1/chat/completions | an unknown model is an APICallError', async () => {
  await assert.rejects(
    generateText({ model: provider('nope'), ...question }),
    (err) => APICallError.isInstance(err) && err.statusCode === 404,
  );
});

const langchain = (model, maxTokens = 16) => new ChatOpenAI({
  model, temperature: 0, maxTokens, maxRetries: 0, apiKey: 'unused', configuration: { baseURL: `${process.env.GATEWAY_URL}/v1` },
});

test('@langchain/openai | /v1/chat/completions | invokes and streams the same', async () => {
  const whole = await langchain('legal').invoke('How do I sort a list?');
  assert.ok(whole.content.length > 0);
  let text = '';
  for await (const chunk of await langchain('legal').stream('How do I sort a list?')) text += chunk.content;
  assert.equal(text, whole.content);
});

test('@langchain/openai | /v1/chat/completions | structured output', async () => {
  const schema = z.object({ answer: z.enum(['yes', 'no']) });
  const { answer } = await langchain('demo', 64).withStructuredOutput(schema, { method: 'jsonSchema' }).invoke('Is rain water?');
  assert.ok(['yes', 'no'].includes(answer));
});
