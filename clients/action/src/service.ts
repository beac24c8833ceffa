import { Transport } from '../../playwright/src/transport';
import { input } from './runner';

/** What the inputs name, or else the environment. */
export function service(): Transport {
  for (const name of ['url', 'token']) {
    const given = input(name);
    if (!given) continue;
    process.env[`BOTFARM_${name.toUpperCase()}`] = given;
    delete process.env[`BOTFARM_${name.toUpperCase()}_FILE`];
  }
  return Transport.fromEnvironment();
}
