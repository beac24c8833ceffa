// Renews a lease while the steps of the job run.
import { text } from 'node:stream/consumers';
import { Lease } from '../../playwright/src/lease';
import { Transport } from '../../playwright/src/transport';
import type { GrantedLease } from '../../playwright/src/wire';

const look = 1000;

async function main(): Promise<void> {
  const { id, limit } = JSON.parse(await text(process.stdin)) as { id: string; limit: number };
  const transport = Transport.fromEnvironment();
  const asked = performance.now();
  const granted = (await transport.call('POST', `/leases/${id}/renew`, {})) as GrantedLease;
  const lease = new Lease(transport, id, granted, asked);
  // What became of it is told to the post step, which gives it back.
  const timer = setInterval(() => {
    if (lease.lost || performance.now() - asked > limit) process.exit();
  }, look);
  timer.ref();
}

main().catch(() => process.exit(1));
