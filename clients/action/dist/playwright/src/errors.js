"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.Unavailable = exports.NoAccount = exports.LeaseLost = exports.BotfarmError = void 0;
exports.fromProblem = fromProblem;
/** The service refused. `code` is the stable one of its documentation, `problem` all that it said. */
class BotfarmError extends Error {
    detail;
    code;
    problem;
    name = 'BotfarmError';
    constructor(detail, code = '', problem = {}) {
        super(`botfarm: ${detail}`);
        this.detail = detail;
        this.code = code;
        this.problem = problem;
    }
}
exports.BotfarmError = BotfarmError;
/** The lease ended before it was given back: what the test has seen since proves nothing. */
class LeaseLost extends BotfarmError {
    name = 'LeaseLost';
}
exports.LeaseLost = LeaseLost;
/** No account became free in time (`exhausted`), or the one that was named is held (`busy`). */
class NoAccount extends BotfarmError {
    name = 'NoAccount';
}
exports.NoAccount = NoAccount;
/** The service cannot be reached, or its store cannot. */
class Unavailable extends BotfarmError {
    name = 'Unavailable';
}
exports.Unavailable = Unavailable;
const kinds = {
    'lease-lost': LeaseLost,
    'no-such-lease': LeaseLost,
    'exhausted': NoAccount,
    'busy': NoAccount,
    'unavailable': Unavailable,
    'too-many-requests': Unavailable,
};
/** The error that a service's `application/problem+json` tells of. */
function fromProblem(problem) {
    const code = problem.code ?? '';
    const said = problem.detail ?? problem.title ?? 'no reason given';
    const faults = (problem.errors ?? []).map(({ pointer, detail }) => `${pointer} ${detail}`);
    const detail = faults.every((fault) => said.includes(fault)) ? said : `${said}: ${faults.join('; ')}`;
    return new (kinds[code] ?? BotfarmError)(detail, code, problem);
}
