"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.Lease = exports.Account = void 0;
const errors_1 = require("./errors");
const releasePatience = 15_000;
const renewTimeout = 5000;
const pauseAfterTrouble = 1000;
/** An account that is leased. */
class Account {
    id;
    login;
    /** Not shown when an account is printed. */
    password;
    project_id;
    env;
    domain;
    labels;
    /** What it was asked for as, among several. */
    as;
    /** Larger at every hand-out of this account. */
    fence;
    #lease;
    constructor(user, lease) {
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
    get outcome() {
        return this.#lease.outcome;
    }
    set outcome(outcome) {
        this.#lease.outcome = outcome;
    }
    toString() {
        return `${this.login} (${this.env})`;
    }
}
exports.Account = Account;
/** One or more accounts that are nobody else's until they are given back. It is renewed in the background. */
class Lease {
    holder;
    accounts;
    outcome;
    #transport;
    // Not shown to anybody: who has the id may renew and release.
    #path;
    #until = 0;
    #lost;
    #trouble;
    #released;
    #timer;
    constructor(transport, id, granted, asked) {
        this.#transport = transport;
        this.#path = `/leases/${id}`;
        this.holder = granted.holder;
        this.accounts = granted.users.map((user) => new Account(user, this));
        this.#next(this.#take(granted, asked));
    }
    /** The account; of several, the first. */
    get account() {
        return this.accounts[0];
    }
    /** Why the lease was lost, if it is known to be. Asks nobody. */
    get lost() {
        if (!this.#released && performance.now() >= this.#until)
            this.#lost ??= this.#unrenewed();
        return this.#lost;
    }
    /**
     * Renews the lease now.
     *
     * Fails with `LeaseLost` when it was lost; a service that is away does not hurt until the lease's time is up.
     */
    async check() {
        if (!this.#released)
            await this.#renew();
        if (this.lost)
            throw this.lost;
    }
    /** Gives the accounts back; again does nothing. Fails with `LeaseLost` when they were not ours to the end. */
    release() {
        return (this.#released ??= this.#release(performance.now() < this.#until));
    }
    toString() {
        return `the lease of ${this.accounts.join(', ')} held by ${this.holder}`;
    }
    async #release(ours) {
        clearTimeout(this.#timer);
        try {
            const path = `${this.#path}?outcome=${this.outcome ?? 'clean'}`;
            await this.#transport.call('DELETE', path, undefined, { patience: releasePatience });
        }
        catch (error) {
            if (error instanceof errors_1.LeaseLost)
                this.#lost ??= error;
            else if (!(error instanceof errors_1.Unavailable))
                throw error;
            else if (ours)
                process.stderr.write(`${error.message}; ${this} ends by itself\n`);
            else
                this.#lost ??= this.#unrenewed();
        }
        if (this.#lost)
            throw this.#lost;
    }
    /** Reads how long it lives, and gives when to renew. The answer is at most as old as the question. */
    #take(granted, asked) {
        // After a long wait in the queue that says little; then a renewal at once gives a close bound.
        const waited = performance.now() - asked > granted.ttl_seconds * 100;
        this.#until = (waited ? performance.now() : asked) + granted.expires_in_seconds * 1000;
        return waited ? 0 : granted.renew_after_seconds * 1000;
    }
    #next(pause) {
        clearTimeout(this.#timer);
        if (this.#released)
            return;
        this.#timer = setTimeout(() => this.#renew(), pause);
        this.#timer.unref();
    }
    async #renew() {
        const asked = performance.now();
        try {
            const granted = await this.#transport.call('POST', `${this.#path}/renew`, {}, { timeout: renewTimeout, patience: 0 });
            this.#trouble = undefined;
            this.#next(this.#take(granted, asked));
        }
        catch (error) {
            // A release meanwhile is no loss.
            if (this.#released)
                return;
            if (error instanceof errors_1.LeaseLost) {
                this.#lost ??= error;
                return;
            }
            this.#trouble = error instanceof errors_1.BotfarmError ? error : new errors_1.BotfarmError(`${error}`);
            this.#next(pauseAfterTrouble);
        }
    }
    #unrenewed() {
        const trouble = this.#trouble?.detail ?? 'this process stood still';
        return new errors_1.LeaseLost(`${this} ended, because it could not be renewed: ${trouble}`, 'lease-lost');
    }
}
exports.Lease = Lease;
