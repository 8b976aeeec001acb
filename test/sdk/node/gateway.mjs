// The gateway under test, and what the tests of several SDKs have in common. Each
// test is named "SDK | endpoint | feature: what"; docs/compatibility.md is made of
// the names.
import assert from 'node:assert/strict';
import { z } from 'zod';

export const url = process.env.GATEWAY_URL;
export const key = 'sdk-key'; // of a tenant without limits

export const question = 'How do I sort a list?';

// A model that calls the tool that it is given: its first token is a brace.
export const caller = 'calls-tools';

export const cities = ['Rome', 'Oslo'];
export const citySchema = { type: 'object', properties: { city: { enum: cities } }, required: ['city'], additionalProperties: false };
export const cityShape = z.object({ city: z.enum(cities) });

// long makes answers of so many tokens that nobody waits for their end.
export const long = { max_tokens: 900, ignore_eos: true };

// occupied takes the one place of a tenant with a stream, and gives it back at the
// first 429 that fetch, which an SDK is to use, sees. seen has what it saw.
export async function occupied(apiKey) {
  const hold = new AbortController();
  const stream = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST', signal: hold.signal,
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'chat', messages: [{ role: 'user', content: question }], stream: true, ...long }),
  });
  assert.equal(stream.status, 200);
  await stream.body.getReader().read();
  const seen = [];
  const watch = async (...request) => {
    const answer = await fetch(...request);
    seen.push(answer.status === 429 ? `429, ${answer.headers.get('retry-after')} s` : String(answer.status));
    if (answer.status === 429) hold.abort();
    return answer;
  };
  return { fetch: watch, seen };
}

// retried checks what occupied's fetch saw: refusals with Retry-After, then success.
export function retried(seen) {
  assert.equal(seen.at(0), '429, 1 s');
  assert.equal(seen.at(-1), '200');
}
