// A test account for each worker, leased from botfarm, and signed in once.
//
// Copy this file into your suite, make `signIn` do what your site asks for, and import `test` from here:
//
//     test('checkout', async ({ page, account }) => { … });       // the page is signed in as account.login
//     test.use({ wanted: { env: 'stage', labels: { role: 'admin' } } });
//
// BOTFARM_URL says where the service is, BOTFARM_TOKEN who asks. Sessions are kept in .auth/: have git ignore it.
import { test as base, type Page } from '@playwright/test';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';

const farm = `${process.env.BOTFARM_URL ?? 'http://127.0.0.1:8000'}/api/v1`;
const waitSeconds = 280;
const tries = 5;

type Selector = { env?: string; domain?: string; project_id?: string; labels?: Record<string, string> };

export type Account = {
  id: string;
  login: string;
  password: string;
  /** Set it to `dirty` when a test leaves the account changed: then nobody gets it before it was cleaned. */
  outcome: 'clean' | 'dirty' | 'broken';
  /** Renews the lease. Fails when it was lost. */
  keep(): Promise<void>;
};

async function signIn(page: Page, account: Account): Promise<void> {
  await page.goto('/');
  if (await page.getByText(`signed in as ${account.login}`).isVisible()) return;
  await page.getByLabel('Login').fill(account.login);
  await page.getByLabel('Password').fill(account.password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await base.expect(page.getByRole('status')).toHaveText(`signed in as ${account.login}`);
}

/** What the farm answers. Asking again never takes a second account, because the lease's id is ours. */
async function call(method: string, path: string, body?: object): Promise<any> {
  const headers: Record<string, string> = { 'Content-Type': 'application/json' };
  if (process.env.BOTFARM_TOKEN) headers.Authorization = `Bearer ${process.env.BOTFARM_TOKEN}`;
  for (let left = tries; ; left--) {
    const signal = AbortSignal.timeout((waitSeconds + 10) * 1000);
    const answer = await fetch(farm + path, { method, headers, body: body && JSON.stringify(body), signal }).catch(
      (error: Error) => new Response(`${farm} cannot be reached: ${error.cause ?? error}`, { status: 503 }),
    );
    const text = await answer.text();
    if (answer.ok) return text && JSON.parse(text);
    if (answer.status !== 503 || left <= 1) throw new Error(`botfarm: ${text}`);
    await pause(1000);
  }
}

export const test = base.extend<{ keepsAccount: void }, { wanted: Selector; account: Account; session: string }>({
  wanted: [{}, { option: true, scope: 'worker' }],

  // Waiting for an account has a timeout of its own, and takes nothing from that of the test.
  account: [async ({ wanted }, use, worker) => {
    // The worker that takes over after a failure has the same index, and so gets the same account, with its session.
    const key = `${hostname()} ${worker.project.name} ${worker.parallelIndex}`;
    const lease = await call('POST', '/leases', {
      id: randomUUID(), users: [wanted], holder: `playwright ${key}`, sticky: key,
      ttl_seconds: 60, wait_seconds: waitSeconds,
    });
    const { id, login, password } = lease.users[0];
    const keep = () => call('POST', `/leases/${lease.id}/renew`);
    const account: Account = { id, login, password, outcome: 'clean', keep };
    // Whether it has lasted is asked after each test.
    const beat = setInterval(() => keep().catch(() => {}), lease.renew_after_seconds * 1000);
    await use(account);
    clearInterval(beat);
    await call('DELETE', `/leases/${lease.id}?outcome=${account.outcome}`);
  }, { scope: 'worker', timeout: (waitSeconds + 20) * 1000 }],

  // The session outlives the worker in a file, which whoever leases the account on this machine next goes on with.
  session: [async ({ account, browser }, use, worker) => {
    const file = `${worker.project.outputDir}/../.auth/${account.id}.json`;
    const storageState = existsSync(file) ? file : undefined;
    const page = await browser.newPage({ baseURL: worker.project.use.baseURL, storageState });
    await signIn(page, account);
    await page.context().storageState({ path: file });
    await page.context().close();
    await use(file);
  }, { scope: 'worker' }],

  storageState: async ({ session }, use) => use(session),

  // What a test has seen proves nothing when somebody else had the account before it ended.
  keepsAccount: [async ({ account }, use) => {
    await use();
    await account.keep();
  }, { auto: true }],
});

export { expect } from '@playwright/test';
