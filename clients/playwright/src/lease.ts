import { LeaseLost, Unavailable, BotfarmError } from './errors';
import type { Transport } from './transport';
import type { GrantedLease, LeaseUser, Outcome } from './wire';

const releasePatience = 15_000;
const renewTimeout = 5000;
const pauseAfterTrouble = 1000;

/** An account that is leased. */
export class Account {
  readonly id: string;
  readonly login: string;
  /** Not shown when an account is printed. */
  readonly password!: string;
  readonly project_id: string;
  readonly env: string;
  readonly domain: string;
  readonly labels: Readonly<Record<string, string>>;
  /** What it was asked for as, among several. */
  readonly as: string | null;
  /** Larger at every hand-out of this account. */
  readonly fence: number;
  readonly #lease: Lease;

  constructor(user: LeaseUser, lease: Lease) {
    this.id = user.id;
    this.login = user.login;
    this.project_id = user.project_id;
    this.env = user.env;
    this.domain = user.domain;
    this.labels = user.labels;
    this.as = user.as;
    this.fence = user.fence;
    this.#lease = lease;
    Object.defineProperty(this, 'password', { value: user.password, enumerable: false });
  }

  /** How it is given back; unless set, a test that fails says `onFailure`, others `clean`. It goes for the whole lease. */
  get outcome(): Outcome | undefined {
    return this.#lease.outcome;
  }

  set outcome(outcome: Outcome) {
    this.#lease.outcome = outcome;
  }

  toString(): string {
    return `${this.login} (${this.env})`;
  }
}

/** One or more accounts that are nobody else's until they are given back. It is renewed in the background. */
export class Lease {
  readonly holder: string;
  readonly accounts: readonly Account[];
  outcome?: Outcome;
  readonly #transport: Transport;
  // Not shown to anybody: who has the id may renew and release.
  readonly #path: string;
  #until = 0;
  #lost: LeaseLost | undefined;
  #trouble: BotfarmError | undefined;
  #released: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(transport: Transport, id: string, granted: GrantedLease, asked: number) {
    this.#transport = transport;
    this.#path = `/leases/${id}`;
    this.holder = granted.holder;
    this.accounts = granted.users.map((user) => new Account(user, this));
    this.#next(this.#take(granted, asked));
  }

  /** The account; of several, the first. */
  get account(): Account {
    return this.accounts[0]!;
  }

  /** Why the lease was lost, if it is known to be. Asks nobody. */
  get lost(): LeaseLost | undefined {
    if (!this.#released && performance.now() >= this.#until) this.#lost ??= this.#unrenewed();
    return this.#lost;
  }

  /**
   * Renews the lease now.
   *
   * Fails with `LeaseLost` when it was lost; a service that is away does not hurt until the lease's time is up.
   */
  async check(): Promise<void> {
    if (!this.#released) await this.#renew();
    if (this.lost) throw this.lost;
  }

  /** Gives the accounts back; again does nothing. Fails with `LeaseLost` when they were not ours to the end. */
  release(): Promise<void> {
    return (this.#released ??= this.#release(performance.now() < this.#until));
  }

  toString(): string {
    return `the lease of ${this.accounts.join(', ')} held by ${this.holder}`;
  }

  async #release(ours: boolean): Promise<void> {
    clearTimeout(this.#timer);
    try {
      const path = `${this.#path}?outcome=${this.outcome ?? 'clean'}`;
      await this.#transport.call('DELETE', path, undefined, { patience: releasePatience });
    } catch (error) {
      if (error instanceof LeaseLost) this.#lost ??= error;
      else if (!(error instanceof Unavailable)) throw error;
      else if (ours) process.stderr.write(`${error.message}; ${this} ends by itself\n`);
      else this.#lost ??= this.#unrenewed();
    }
    if (this.#lost) throw this.#lost;
  }

  /** Reads how long it lives, and gives when to renew. The answer is at most as old as the question. */
  #take(granted: GrantedLease, asked: number): number {
    // After a long wait in the queue that says little; then a renewal at once gives a close bound.
    const waited = performance.now() - asked > granted.ttl_seconds * 100;
    this.#until = (waited ? performance.now() : asked) + granted.expires_in_seconds * 1000;
    return waited ? 0 : granted.renew_after_seconds * 1000;
  }

  #next(pause: number): void {
    clearTimeout(this.#timer);
    if (this.#released) return;
    this.#timer = setTimeout(() => this.#renew(), pause);
    this.#timer.unref();
  }

  async #renew(): Promise<void> {
    const asked = performance.now();
    try {
      const granted = await this.#transport.call('POST', `${this.#path}/renew`, {}, { timeout: renewTimeout, patience: 0 });
      this.#trouble = undefined;
      this.#next(this.#take(granted as GrantedLease, asked));
    } catch (error) {
      // A release meanwhile is no loss.
      if (this.#released) return;
      if (error instanceof LeaseLost) {
        this.#lost ??= error;
        return;
      }
      this.#trouble = error instanceof BotfarmError ? error : new BotfarmError(`${error}`);
      this.#next(pauseAfterTrouble);
    }
  }

  #unrenewed(): LeaseLost {
    const trouble = this.#trouble?.detail ?? 'this process stood still';
    return new LeaseLost(`${this} ended, because it could not be renewed: ${trouble}`, 'lease-lost');
  }
}
