// What a suite does without botfarm: the worker's number picks from a list, whoever else has that account.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test as leased, type Account } from './botfarm';

const rows = readFileSync(join(__dirname, '../bots.csv'), 'utf8').trim().split('\n').slice(1);

export const test = leased.extend<{}, { account: Account }>({
  account: [async ({}, use, worker) => {
    const [login, password] = rows[worker.parallelIndex % rows.length].split(',');
    await use({ id: `worker-${worker.parallelIndex}`, login, password, outcome: 'clean', keep: async () => {} });
  }, { scope: 'worker' }],
});
