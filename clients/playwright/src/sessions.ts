// Signing in once, for as many tests as the session lasts.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BrowserContext, Page } from '@playwright/test';
import { BotfarmError } from './errors';
import type { Account, Lease } from './lease';
import { lasting } from './durations';

type State = Awaited<ReturnType<BrowserContext['storageState']>>;

export type SignIn = (page: Page, account: Account) => Promise<unknown>;
export type IsSignedIn = (page: Page, account: Account) => Promise<boolean>;

/** What was saved under a lease. */
const ofLease = new WeakMap<Lease, State>();

/**
 * The session of an account at a site.
 *
 * Under one lease it is kept in memory. It outlives the lease in a file, if there is a way to tell whether it still
 * holds then.
 */
export class Session {
  readonly #file: string | undefined;

  constructor(
    readonly lease: Lease,
    site: string,
    folder: string,
    readonly signIn: SignIn,
    readonly isSignedIn: IsSignedIn | undefined,
  ) {
    const name = createHash('sha256').update(`${site} ${this.account.id}`).digest('hex').slice(0, 32);
    this.#file = isSignedIn && join(folder, `${name}.json`);
  }

  get account(): Account {
    return this.lease.account;
  }

  /** Signs the context in, unless it is after the session was restored. May take `limit` milliseconds; 0 is for ever. */
  async open(context: BrowserContext, limit: number): Promise<void> {
    const known = ofLease.get(this.lease) ?? this.#read();
    if (known) await context.setStorageState(known);
    if (known && !this.isSignedIn) return;
    const page = await context.newPage();
    try {
      await within(limit, async () => {
        if (known && (await this.isSignedIn?.(page, this.account))) return;
        await this.signIn(page, this.account);
      });
    } finally {
      await page.close();
    }
    await this.save(context);
  }

  /** Keeps the session as it is now: a test may have been given new tokens. */
  async save(context: BrowserContext): Promise<void> {
    let state: State;
    try {
      state = await context.storageState({ indexedDB: true });
    } catch {
      // The test has closed it.
      return;
    }
    ofLease.set(this.lease, state);
    if (this.#file) write(this.#file, JSON.stringify(state));
  }

  #read(): State | undefined {
    if (!this.#file || !existsSync(this.#file)) return undefined;
    try {
      return JSON.parse(readFileSync(this.#file, 'utf8'));
    } catch {
      return undefined;
    }
  }
}

/** Whole or not at all, for its owner's eyes, and out of git. */
function write(file: string, text: string): void {
  const folder = join(file, '..');
  if (!existsSync(folder)) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(join(folder, '.gitignore'), '*\n');
  }
  const part = `${file}.${process.pid}`;
  writeFileSync(part, text, { mode: 0o600 });
  renameSync(part, file);
}

async function within(limit: number, work: () => Promise<void>): Promise<void> {
  if (limit === 0) return work();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, fail) => {
    const error = new BotfarmError(`signing in took more than ${lasting(limit)}, which is what a test may take`);
    timer = setTimeout(() => fail(error), limit);
  });
  const working = work();
  // Whatever becomes of it after that.
  working.catch(() => {});
  try {
    await Promise.race([working, late]);
  } finally {
    clearTimeout(timer);
  }
}
