import { BotfarmError } from './errors';
import { milliseconds } from './durations';
import type { IsSignedIn, SignIn } from './sessions';
import type { Outcome } from './wire';

/** How accounts are leased and signed in. */
export type Settings = {
  /** How long an account is kept: by a `worker` (the default) for all of its tests, or for one `test`. */
  scope?: 'worker' | 'test';
  /** Signs in. With it, `page` and `context` are signed in as `account`. It may take as long as a test. */
  signIn?: SignIn;
  /** Whether a session that was kept still holds. With it, sessions are kept in a file for who has the account next. */
  isSignedIn?: IsSignedIn;
  /** What a test that fails leaves behind, unless it says otherwise: `clean` (the default), `dirty` or `broken`. */
  onFailure?: Outcome;
  /** How long to stand in the queue: `5m` unless set. BOTFARM_WAIT beats it. */
  wait?: string;
  /** When an account is somebody else's that nobody renews: `60s` unless set. BOTFARM_TTL beats it. */
  ttl?: string;
  /** The folder of the sessions: `.auth` beside the configuration unless set. */
  sessions?: string;
  /** A file of accounts for `@botfarm/playwright/serve`, relative to the configuration. */
  bots?: string;
};

const known: Record<keyof Settings, (value: unknown) => boolean> = {
  scope: (value) => value === 'worker' || value === 'test',
  signIn: (value) => typeof value === 'function',
  isSignedIn: (value) => typeof value === 'function',
  onFailure: (value) => ['clean', 'dirty', 'broken'].includes(value as string),
  wait: (value) => typeof value === 'string' && milliseconds(value) >= 0,
  ttl: (value) => typeof value === 'string' && milliseconds(value) > 0,
  sessions: (value) => typeof value === 'string',
  bots: (value) => typeof value === 'string',
};

/** Fails for what cannot be: a configuration in JavaScript has no types. */
export function checked(settings: Settings): Settings {
  for (const [name, value] of Object.entries(settings)) {
    const check = Object.hasOwn(known, name) ? known[name as keyof Settings] : undefined;
    if (!check) throw new BotfarmError(`there is no setting ${name}, but ${Object.keys(known).join(', ')}`, 'invalid');
    if (value !== undefined && !check(value)) throw new BotfarmError(`the setting ${name} cannot be ${value}`, 'invalid');
  }
  if (settings.isSignedIn && !settings.signIn) throw new BotfarmError('isSignedIn needs signIn, too', 'invalid');
  return settings;
}
