import type { Problem } from './wire';

/** The service refused. `code` is the stable one of its documentation, `problem` all that it said. */
export class BotfarmError extends Error {
  override name = 'BotfarmError';

  constructor(
    readonly detail: string,
    readonly code = '',
    readonly problem: Problem = {},
  ) {
    super(`botfarm: ${detail}`);
  }
}

/** The lease ended before it was given back: what the test has seen since proves nothing. */
export class LeaseLost extends BotfarmError {
  override name = 'LeaseLost';
}

/** No account became free in time (`exhausted`), or the one that was named is held (`busy`). */
export class NoAccount extends BotfarmError {
  override name = 'NoAccount';
}

/** The service cannot be reached, or its store cannot. */
export class Unavailable extends BotfarmError {
  override name = 'Unavailable';
}

const kinds: Record<string, typeof BotfarmError> = {
  'lease-lost': LeaseLost,
  'no-such-lease': LeaseLost,
  'exhausted': NoAccount,
  'busy': NoAccount,
  'unavailable': Unavailable,
  'too-many-requests': Unavailable,
};

/** The error that a service's `application/problem+json` tells of. */
export function fromProblem(problem: Problem): BotfarmError {
  const code = problem.code ?? '';
  const said = problem.detail ?? problem.title ?? 'no reason given';
  const faults = (problem.errors ?? []).map(({ pointer, detail }) => `${pointer} ${detail}`);
  const detail = faults.every((fault) => said.includes(fault)) ? said : `${said}: ${faults.join('; ')}`;
  return new (kinds[code] ?? BotfarmError)(detail, code, problem);
}
