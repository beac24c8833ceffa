// What a suite does without botfarm: the worker's number picks from a list, whoever else has that account.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test as base } from '@playwright/test';
import { signIn } from './sign-in';

const rows = readFileSync(join(__dirname, '../bots.csv'), 'utf8').trim().split('\n').slice(1);

export const test = base.extend<{ account: { login: string; password: string } }>({
  account: async ({}, use, testInfo) => {
    const [login, password] = rows[testInfo.parallelIndex % rows.length].split(',');
    await use({ login, password });
  },
  page: async ({ page, account }, use) => {
    await signIn(page, account);
    await use(page);
  },
});
