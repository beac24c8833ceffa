/**
 * A service for one run, for who has a file of accounts and no service. In the configuration:
 *
 *     globalSetup: '@botfarm/playwright/serve',
 *     use: { botfarm: { bots: 'accounts.csv' } },
 *
 * It serves to all workers, and ends with the run, however that ends. Where BOTFARM_URL names a service, there is nothing
 * to start.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { dirname, resolve } from 'node:path';
import type { FullConfig } from '@playwright/test';
import type { BotfarmOptions } from './index';
import { BotfarmError } from './errors';

const starting = 30_000;
const stopping = 5000;
const remembered = 4000;
const hint = 'install it, or set BOTFARM_URL to a service that is running';

export default async function serve(config: FullConfig): Promise<() => Promise<void>> {
  if (process.env.BOTFARM_URL || process.env.BOTFARM_URL_FILE) return async () => {};
  const file = bots(config);
  if ((config.shard?.total ?? 1) > 1) {
    throw new BotfarmError(
      `each shard would give out the accounts of ${file} once more; set BOTFARM_URL to a service that they share`,
    );
  }
  const { child, url } = await started(file);
  process.env.BOTFARM_URL = url;
  return async () => {
    delete process.env.BOTFARM_URL;
    child.stdin?.end();
    const timer = setTimeout(() => child.kill('SIGKILL'), stopping);
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    clearTimeout(timer);
  };
}

function bots(config: FullConfig): string {
  const beside = config.configFile ? dirname(config.configFile) : config.rootDir;
  const named = config.projects.map(({ use }) => (use as Partial<BotfarmOptions>).botfarm?.bots);
  const files = new Set([process.env.BOTFARM_BOTS || named].flat().filter((file) => file !== undefined));
  const [file, other] = [...files];
  if (!file) throw new BotfarmError('nothing to serve: set `botfarm: { bots: FILE }` in `use`, or BOTFARM_BOTS');
  if (other) throw new BotfarmError(`one file of accounts can be served to a run, not both ${file} and ${other}`);
  return resolve(beside, file);
}

async function started(file: string): Promise<{ child: ChildProcess; url: string }> {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('BOTFARM_'));
  const child = spawn('botfarm', ['serve', '--bots', file, '--listen', '127.0.0.1:0', '--auth', 'none', '--until-eof'], {
    // What is set here beats a botfarm.toml.
    env: { RUST_LOG: 'warn', ...Object.fromEntries(own), BOTFARM_URL: 'memory:', BOTFARM_STORE: 'memory:' },
    stdio: ['pipe', 'pipe', 'pipe'],
    // Ctrl-C is for the tests, which still have to give back.
    detached: true,
  });
  let [heard, said] = ['', ''];
  child.stderr.setEncoding('utf8').on('data', (more: string) => (said = (said + more).slice(-remembered)));
  const timer = setTimeout(() => child.kill('SIGKILL'), starting);
  try {
    return await new Promise((done, failed) => {
      child.on('error', (error) => failed(new BotfarmError(`\`botfarm serve\` cannot be started: ${error.message}; ${hint}`)));
      child.on('close', () => failed(new BotfarmError(`\`botfarm serve\` did not start: ${said.trim() || 'it said nothing'}`)));
      child.stdout.setEncoding('utf8').on('data', (more: string) => {
        heard = (heard + more).slice(0, remembered);
        const url = /^listening on (http:\/\/\S+)\n/.exec(heard)?.[1];
        if (url) done({ child, url });
      });
    });
  } finally {
    clearTimeout(timer);
  }
}
