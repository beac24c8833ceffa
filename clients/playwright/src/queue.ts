// Stands in the queue for accounts, and says why.
import { randomUUID } from 'node:crypto';
import { lasting, pause } from './durations';
import { BotfarmError, LeaseLost, NoAccount } from './errors';
import { found, run as runOf } from './job';
import { Lease } from './lease';
import type { Transport } from './transport';
import { fits, shown, type ActiveLease, type GrantedLease, type Selector } from './wire';

const firstTurn = 1000;
const longTurn = 10_000;
const answering = 15_000;
const named = 5;
const lookedAt = 500;

/** Which accounts are wanted, for whom, and for how long. Times are in milliseconds. */
export type Request = {
  wanted: Selector[];
  wait: number;
  ttl: number;
  holder: string;
  sticky?: string;
  /** The id of the lease to come, a secret: random unless given. */
  id?: string;
  /** Where to tell people what is waited for. */
  report(text: string): void;
};

/**
 * Asks in turns under one lease id, which keeps the place in the queue.
 *
 * Fails with `NoAccount` when nothing became free in time. After any other error nothing is held.
 */
export async function acquire(transport: Transport, request: Request): Promise<Lease> {
  const { id = randomUUID() } = request;
  const { url } = found();
  const run = runOf();
  const body = {
    id,
    users: request.wanted,
    holder: request.holder,
    ttl_seconds: request.ttl / 1000,
    ...(run && { run }),
    ...(url && { url }),
    ...(request.sticky && { sticky: request.sticky }),
  };
  const until = performance.now() + request.wait;
  let told = -Infinity;
  for (let length = firstTurn; ; length = longTurn) {
    const asked = performance.now();
    const turn = Math.max(0, Math.min(length, until - asked));
    try {
      const asking = { ...body, wait_seconds: turn / 1000 };
      const granted = await transport.call('POST', '/leases', asking, { timeout: turn + answering });
      return new Lease(transport, id, granted as GrantedLease, asked);
    } catch (error) {
      if (error instanceof LeaseLost) throw error;
      if (!(error instanceof NoAccount)) {
        // A grant that is on its way is given back.
        await transport.call('DELETE', `/leases/${id}`, undefined, { timeout: 1000, patience: 0 }).catch(() => {});
        throw error;
      }
      const selector = request.wanted[error.problem.selector ?? 0] ?? {};
      const who = async () => ['', ...(await holders(transport, selector))].join('\n  ');
      const now = performance.now();
      if (now >= until) {
        const what = `no account for ${shown(selector)} within ${lasting(request.wait)}: ${error.detail}`;
        throw new NoAccount(`${what}${await who()}`, error.code, error.problem);
      }
      if (now - told >= longTurn - 1000) {
        told = now;
        const left = lasting(until - now);
        request.report(`botfarm: waiting for ${shown(selector)}, ${left} more at most: ${error.detail}${await who()}\n`);
      }
      // A service that lets nobody wait answers at once.
      await pause(asked + turn - performance.now());
    }
  }
}

/** Who holds what is wanted, the longest first. Whoever may not list leases waits all the same. */
async function holders(transport: Transport, selector: Selector): Promise<string[]> {
  let leases: ActiveLease[];
  try {
    leases = (await transport.call('GET', `/leases?limit=${lookedAt}`, undefined, { timeout: 2000, patience: 0 })) as ActiveLease[];
  } catch (error) {
    if (error instanceof BotfarmError) return [];
    throw error;
  }
  const held = leases
    .flatMap((lease) => lease.users.filter((user) => fits(user, selector)).map((user) => ({ lease, user })))
    .sort((one, other) => one.lease.acquired_at.localeCompare(other.lease.acquired_at))
    .map(({ lease, user }) => {
      const where = lease.url ? `, ${lease.url}` : '';
      return `${user.login} is held by ${lease.holder} since ${lease.acquired_at}${where}`;
    });
  return held.length > named ? [...held.slice(0, named), `and ${held.length - named} more`] : held;
}
