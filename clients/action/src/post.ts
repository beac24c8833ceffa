// Gives back at the end of the job, however it ended.
import { LeaseLost, Unavailable } from '../../playwright/src/errors';
import { fail, kept, mask, say } from './runner';
import { service } from './service';

const patience = 20_000;

async function post(): Promise<void> {
  const [id, granted, renewer] = [kept('lease'), kept('granted'), Number(kept('renewer'))];
  if (!id) return;
  mask(id);
  if (renewer) {
    try {
      process.kill(renewer);
    } catch {
      // It has ended by itself.
    }
  }
  try {
    await service().call('DELETE', `/leases/${id}`, undefined, { patience });
    if (granted) say(`botfarm: gave back ${granted}`);
  } catch (error) {
    // Cancelled while it stood in the queue, it has nothing to give back.
    if (error instanceof LeaseLost && !granted) return;
    if (error instanceof LeaseLost) error.message += ': what the job has seen proves nothing';
    if (error instanceof Unavailable) error.message += `; ${granted || 'the lease'} ends by itself`;
    throw error;
  }
}

post().catch(fail).finally(() => process.exit());
