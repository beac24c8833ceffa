"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.acquire = acquire;
// Stands in the queue for accounts, and says why.
const node_crypto_1 = require("node:crypto");
const durations_1 = require("./durations");
const errors_1 = require("./errors");
const job_1 = require("./job");
const lease_1 = require("./lease");
const wire_1 = require("./wire");
const firstTurn = 1000;
const longTurn = 10_000;
const answering = 15_000;
const named = 5;
const lookedAt = 500;
/**
 * Asks in turns under one lease id, which keeps the place in the queue.
 *
 * Fails with `NoAccount` when nothing became free in time. After any other error nothing is held.
 */
async function acquire(transport, request) {
    const { id = (0, node_crypto_1.randomUUID)() } = request;
    const { url } = (0, job_1.found)();
    const run = (0, job_1.run)();
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
    for (let length = firstTurn;; length = longTurn) {
        const asked = performance.now();
        const turn = Math.max(0, Math.min(length, until - asked));
        try {
            const asking = { ...body, wait_seconds: turn / 1000 };
            const granted = await transport.call('POST', '/leases', asking, { timeout: turn + answering });
            return new lease_1.Lease(transport, id, granted, asked);
        }
        catch (error) {
            if (error instanceof errors_1.LeaseLost)
                throw error;
            if (!(error instanceof errors_1.NoAccount)) {
                // A grant that is on its way is given back.
                await transport.call('DELETE', `/leases/${id}`, undefined, { timeout: 1000, patience: 0 }).catch(() => { });
                throw error;
            }
            const selector = request.wanted[error.problem.selector ?? 0] ?? {};
            const who = async () => ['', ...(await holders(transport, selector))].join('\n  ');
            const now = performance.now();
            if (now >= until) {
                const what = `no account for ${(0, wire_1.shown)(selector)} within ${(0, durations_1.lasting)(request.wait)}: ${error.detail}`;
                throw new errors_1.NoAccount(`${what}${await who()}`, error.code, error.problem);
            }
            if (now - told >= longTurn - 1000) {
                told = now;
                const left = (0, durations_1.lasting)(until - now);
                request.report(`botfarm: waiting for ${(0, wire_1.shown)(selector)}, ${left} more at most: ${error.detail}${await who()}\n`);
            }
            // A service that lets nobody wait answers at once.
            await (0, durations_1.pause)(asked + turn - performance.now());
        }
    }
}
/** Who holds what is wanted, the longest first. Whoever may not list leases waits all the same. */
async function holders(transport, selector) {
    let leases;
    try {
        leases = (await transport.call('GET', `/leases?limit=${lookedAt}`, undefined, { timeout: 2000, patience: 0 }));
    }
    catch (error) {
        if (error instanceof errors_1.BotfarmError)
            return [];
        throw error;
    }
    const held = leases
        .flatMap((lease) => lease.users.filter((user) => (0, wire_1.fits)(user, selector)).map((user) => ({ lease, user })))
        .sort((one, other) => one.lease.acquired_at.localeCompare(other.lease.acquired_at))
        .map(({ lease, user }) => {
        const where = lease.url ? `, ${lease.url}` : '';
        return `${user.login} is held by ${lease.holder} since ${lease.acquired_at}${where}`;
    });
    return held.length > named ? [...held.slice(0, named), `and ${held.length - named} more`] : held;
}
