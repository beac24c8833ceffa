// Leases for the rest of the job.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { milliseconds } from '../../playwright/src/durations';
import { holder } from '../../playwright/src/job';
import type { Account, Lease } from '../../playwright/src/lease';
import { acquire } from '../../playwright/src/queue';
import { fail, input, keep, mask, output, say } from './runner';
import { service } from './service';
import { selector, several } from './wanted';

async function main(): Promise<void> {
  const common = selector(input('wanted'));
  const wanted = several(input('accounts'), common);
  const [wait, ttl, limit] = ['wait', 'ttl', 'at-most'].map((name) => milliseconds(input(name)));
  const transport = service();
  // The id is known before the lease is: whatever happens from here on, the post step gives it back.
  const id = randomUUID();
  mask(id);
  keep('lease', id);
  const lease = await acquire(transport, {
    id,
    wanted: wanted.length > 0 ? wanted : [common],
    wait: wait!,
    ttl: ttl!,
    holder: holder(),
    report: say,
  });
  for (const { password } of lease.accounts) mask(password);
  keep('granted', String(lease));
  await renewElsewhere(id, limit!);
  hand(lease);
  say(`botfarm: ${lease}`);
}

/** This step ends, the job goes on: a process of its own renews the lease, until the post step or the runner ends it. */
async function renewElsewhere(id: string, limit: number): Promise<void> {
  const renewer = spawn(process.execPath, [join(__dirname, 'renew.js')], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  renewer.on('error', fail);
  // Not in its arguments or its environment, which others can see.
  await new Promise<void>((done) => renewer.stdin.end(JSON.stringify({ id, limit }), done));
  keep('renewer', String(renewer.pid));
  renewer.unref();
}

function hand(lease: Lease): void {
  const { login, password, id } = lease.account;
  output('login', login);
  output('password', password);
  output('id', id);
  output('accounts', JSON.stringify(Object.fromEntries(lease.accounts.map((each) => [each.as ?? 'account', plain(each)]))));
}

function plain({ id, login, password, env, domain, project_id, labels }: Account) {
  return { id, login, password, env, domain, project_id, labels };
}

main().catch(fail).finally(() => process.exit());
