/**
 * Leases a real test account to each worker or test, and gives it back.
 *
 *     import { test, expect } from '@botfarm/playwright';
 *
 *     test('checkout', async ({ page, account }) => { … });
 */
import { dirname, resolve } from 'node:path';
import { test as base } from '@playwright/test';
import { BotfarmError } from './errors';
import type { Account, Lease } from './lease';
import { Leases } from './leases';
import { Session } from './sessions';
import { checked, type Settings } from './settings';
import type { Selector } from './wire';

export { expect } from '@playwright/test';
export { BotfarmError, LeaseLost, NoAccount, Unavailable } from './errors';
export type { Account } from './lease';
export type { Settings } from './settings';
export type { Outcome, Selector } from './wire';

/** What goes into `use` of the configuration, or into `test.use()`. */
export type BotfarmOptions = {
  /** Which account a test wants; without it, any. */
  wanted: Selector;
  /** Which accounts a test wants at once, by name, beyond what `wanted` says of all of them: all of them or none. */
  wantedAccounts: Record<string, Selector>;
  /** How they are leased and signed in. */
  botfarm: Settings;
};

export type BotfarmFixtures = {
  /** An account that is this worker's (or this test's) alone. Of several, the first. */
  account: Account;
  /** The accounts of `wantedAccounts`. */
  accounts: Record<string, Account>;
};

// Only what is asked for is leased: a test without an account has none.
type OnDemand = { _botfarmLease: () => Promise<Lease> };

export const test = base.extend<BotfarmOptions & BotfarmFixtures & OnDemand, { _botfarmLeases: Leases }>({
  wanted: [{}, { option: true }],
  wantedAccounts: [{}, { option: true }],
  botfarm: [{}, { option: true }],

  _botfarmLeases: [async ({}, use, worker) => {
    const leases = new Leases(worker);
    await use(leases);
    await leases.giveBack();
  }, { scope: 'worker', box: true }],

  // Waiting has a limit of its own, and takes nothing from the time that a test has.
  _botfarmLease: [async ({ wanted, wantedAccounts, botfarm, _botfarmLeases }, use, testInfo) => {
    const settings = checked(botfarm);
    const all = Object.entries(wantedAccounts).map(([as, more]) => merged(wanted, { ...more, as }));
    let leased: Promise<Lease> | undefined;
    await use(() => (leased ??= _botfarmLeases.take(all.length > 0 ? all : [wanted], settings, testInfo)));

    const lease = await leased?.catch(() => undefined);
    if (!lease) return;
    for (const account of lease.accounts) {
      const type = account.as === null ? 'account' : `account ${account.as}`;
      testInfo.annotations.push({ type, description: `${account}, held by ${lease.holder}` });
    }
    if (testInfo.status !== testInfo.expectedStatus) lease.outcome ??= settings.onFailure ?? 'clean';
    // What a test has seen proves nothing when somebody else had the account before it ended.
    await (settings.scope === 'test' ? lease.release() : lease.check());
  }, { timeout: 0, box: true }],

  account: [async ({ _botfarmLease }, use) => use((await _botfarmLease()).account), { timeout: 0 }],

  accounts: [async ({ _botfarmLease, wantedAccounts }, use) => {
    if (Object.keys(wantedAccounts).length === 0) {
      throw new BotfarmError('which accounts? Say test.use({ wantedAccounts: { admin: {…}, member: {…} } })', 'invalid');
    }
    const { accounts } = await _botfarmLease();
    await use(Object.fromEntries(accounts.map((account) => [account.as, account])));
  }, { timeout: 0 }],

  context: [async ({ context, botfarm, baseURL, _botfarmLease }, use, testInfo) => {
    const { signIn, isSignedIn, sessions = '.auth' } = botfarm;
    if (!signIn) return use(context);
    const beside = testInfo.config.configFile ? dirname(testInfo.config.configFile) : testInfo.config.rootDir;
    const session = new Session(await _botfarmLease(), baseURL ?? '', resolve(beside, sessions), signIn, isSignedIn);
    await session.open(context, testInfo.project.timeout);
    await use(context);
    await session.save(context);
  }, { scope: 'test', timeout: 0 }],
});

/** `more` over `common`, label by label. */
function merged(common: Selector, more: Selector): Selector {
  const labels = { ...common.labels, ...more.labels };
  return { ...common, ...more, ...(Object.keys(labels).length > 0 && { labels }) };
}
