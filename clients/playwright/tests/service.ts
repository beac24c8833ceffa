// The service whose client this is: the real one, of the repository's build or of the path.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import * as net from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test as base } from '@playwright/test';

const root = join(__dirname, '../../..');
const built = join(root, 'target/debug/botfarm');
export const botfarm = process.env.BOTFARM || (existsSync(built) ? built : 'botfarm');
const project = '5f0c7e0a-0000-4000-8000-000000000001';
const rows = [['ada', 'admin'], ['ben', 'member'], ['cleo', 'member']];

type Row = { holder: string; url: string | null; outcome: string | null };

/** A service, behind something that can be cut. */
export class Service {
  constructor(
    readonly url: string,
    readonly door: Door,
  ) {}

  async call(method: string, path: string, body?: object): Promise<any> {
    const options = { method, headers: { 'content-type': 'application/json' }, body: body ? JSON.stringify(body) : null };
    const answer = await fetch(`${this.url}/api/v1${path}`, options);
    const text = await answer.text();
    if (!answer.ok) throw new Error(text);
    return text && JSON.parse(text);
  }

  async held(): Promise<string[]> {
    return (await this.call('GET', '/users?state=leased')).map((user: { login: string }) => user.login);
  }

  /** How many stand in the queue. */
  async waiting(): Promise<number> {
    return (await this.call('GET', '/stats')).waiting;
  }

  async conditions(): Promise<string[]> {
    return (await this.call('GET', '/users')).map((user: { condition: string }) => user.condition);
  }

  /** Every hand-out of every account. */
  async history(): Promise<Row[]> {
    const users: { id: string }[] = await this.call('GET', '/users');
    return (await Promise.all(users.map(({ id }) => this.call('GET', `/users/${id}/history`)))).flat();
  }

  /** Holds ada. */
  async hold(holder: string): Promise<{ release(): Promise<void> }> {
    const users = [{ labels: { role: 'admin' } }];
    const { id } = await this.call('POST', '/leases', { users, holder });
    return { release: () => this.call('DELETE', `/leases/${id}`) };
  }
}

/** Forwards connections to a service; while it is shut, there is nothing at its address. */
export class Door {
  port = 0;
  readonly #to: number;
  readonly #open = new Set<net.Socket>();
  #server: net.Server | undefined;

  constructor(to: number) {
    this.#to = to;
  }

  async open(): Promise<void> {
    this.#server = net.createServer((client) => {
      const service = net.connect(this.#to, '127.0.0.1');
      for (const [one, other] of [[client, service], [service, client]] as const) {
        this.#open.add(one);
        one.pipe(other);
        one.on('error', () => other.destroy());
        one.on('close', () => other.destroy());
      }
    });
    this.#server.listen(this.port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.port = (this.#server.address() as net.AddressInfo).port;
  }

  shut(): void {
    this.#server?.close();
    for (const socket of this.#open) socket.destroy();
    this.#open.clear();
  }
}

/** Starts what says where it listens. */
export async function started(command: string, options: string[], variables: NodeJS.ProcessEnv) {
  const child = spawn(command, options, { env: variables, stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await once(createInterface(child.stdout), 'line');
  const url = /^listening on (http:\/\/\S+)$/.exec(line)?.[1];
  if (!url) throw new Error(line);
  const stop = async () => {
    child.kill('SIGTERM');
    if (child.exitCode === null) await once(child, 'exit');
  };
  return { url, stop };
}

type Fixtures = { bots: string; service: Service; site: { url: string; collisions(): Promise<number> } };

export const test = base.extend<Fixtures>({
  bots: async ({}, use, testInfo) => {
    const file = testInfo.outputPath('bots.csv');
    const lines = rows.map(([name, role]) => `${name}@shop.example,s3cret-${name},${project},stage,${role}`);
    writeFileSync(file, ['login,password,project_id,env,label.role', ...lines].join('\n'));
    await use(file);
  },

  service: async ({ bots }, use) => {
    const variables = { PATH: process.env.PATH, BOTFARM_URL: 'memory:', BOTFARM_STORE: 'memory:', RUST_LOG: 'error' };
    const options = ['serve', '--bots', bots, '--listen', '127.0.0.1:0', '--until-eof'];
    const { url, stop } = await started(botfarm, options, variables);
    const door = new Door(Number(new URL(url).port));
    await door.open();
    await use(new Service(url, door));
    door.shut();
    await stop();
  },

  // Lets each account in once.
  site: async ({ bots }, use) => {
    const options = [join(root, 'examples/site/site.py'), '--port', '0', '--accounts', bots];
    const { url, stop } = await started('python3', options, process.env);
    await use({ url, collisions: async () => (await (await fetch(`${url}/collisions`)).json()).collisions });
    await stop();
  },
});

export { expect } from '@playwright/test';
