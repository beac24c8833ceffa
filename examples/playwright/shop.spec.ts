// Runs with more workers than there are accounts.
import { expect, test as leased } from '@botfarm/playwright';
import { test as byChance } from './by-chance';

const test = process.env.ACCOUNTS === 'by-chance' ? byChance : leased;

for (let number = 1; number <= 12; number++) {
  test(`visit ${number} has an account of its own`, async ({ account, page }) => {
    await page.goto('/');
    await expect(page.getByRole('status')).toHaveText(`signed in as ${account.login}`);
    await page.reload();
    await expect(page.getByRole('status')).toHaveText(`signed in as ${account.login}`);
  });
}
