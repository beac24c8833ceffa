import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from '@playwright/test';
import { Transport } from '../src/transport';
import { version } from '../src/version';

test('a service is told the version, and what it says of it is shown once', async () => {
  const asked: (string | undefined)[] = [];
  const server = createServer((request, answer) => {
    asked.push(request.headers['user-agent']);
    answer.setHeader('botfarm-notice', 'the service is old:\tupdate it').end('[]');
  });
  await new Promise<void>((listens) => server.listen(0, '127.0.0.1', listens));
  const shown: unknown[] = [];
  const warn = console.warn;
  console.warn = (text: unknown) => shown.push(text);
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    for (const transport of [new Transport(url), new Transport(url)]) {
      await transport.call('GET', '/users');
      await transport.call('GET', '/users');
    }
  } finally {
    console.warn = warn;
    server.close();
  }
  expect(shown).toEqual(['botfarm: the service is old:?update it']);
  expect(new Set(asked)).toEqual(new Set([`botfarm-playwright/${version}`]));
});
