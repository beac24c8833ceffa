// What a worker holds: one lease at a time, so that no two workers wait for each other.
import { hostname } from 'node:os';
import type { TestInfo, WorkerInfo } from '@playwright/test';
import { milliseconds } from './durations';
import { LeaseLost } from './errors';
import { holder } from './job';
import type { Lease } from './lease';
import { acquire } from './queue';
import type { Settings } from './settings';
import { Transport } from './transport';
import type { Selector } from './wire';

export class Leases {
  readonly #worker: WorkerInfo;
  #transport: Transport | undefined;
  #kept: { key: string; lease: Lease } | undefined;

  constructor(worker: WorkerInfo) {
    this.#worker = worker;
  }

  /** The lease for a test: one of its own, or the worker's. */
  async take(wanted: Selector[], settings: Settings, test: TestInfo): Promise<Lease> {
    const ofTest = settings.scope === 'test';
    const key = JSON.stringify([wanted, settings.ttl]);
    if (this.#kept) {
      if (!ofTest && this.#kept.key === key && !this.#kept.lease.lost) return this.#kept.lease;
      await this.giveBack();
    }
    this.#transport ??= Transport.fromEnvironment();
    const { project, parallelIndex } = this.#worker;
    const name = ofTest ? test.titlePath.join(' › ') : `worker ${parallelIndex}`;
    const place = `${hostname()} ${this.#worker.config.rootDir} ${project.name} ${parallelIndex}`;
    const lease = await acquire(this.#transport, {
      wanted: wanted.map(withDefaults),
      wait: milliseconds(process.env.BOTFARM_WAIT || settings.wait || '5m'),
      ttl: milliseconds(process.env.BOTFARM_TTL || settings.ttl || '60s'),
      holder: holder(`Playwright ${[project.name, name].filter(Boolean).join(' › ')}`),
      // The worker that takes over after a failure has the same index, and so gets the same account.
      ...(ofTest ? {} : { sticky: place.slice(-200).trim() }),
      report: (text) => process.stderr.write(text),
    });
    if (!ofTest) this.#kept = { key, lease };
    return lease;
  }

  /** Gives back what the worker keeps. Every test has found out by itself whether it was lost until then. */
  async giveBack(): Promise<void> {
    const kept = this.#kept;
    this.#kept = undefined;
    await kept?.lease.release().catch((error) => {
      if (!(error instanceof LeaseLost)) throw error;
    });
  }
}

/** What the environment says of every account that is wanted. */
function withDefaults(selector: Selector): Selector {
  const { BOTFARM_ENV: env, BOTFARM_DOMAIN: domain, BOTFARM_PROJECT: project_id } = process.env;
  return { ...(env && { env }), ...(domain && { domain }), ...(project_id && { project_id }), ...selector };
}
