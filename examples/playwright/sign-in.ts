// How this site is signed in at, and how one sees that a session still holds.
import { expect, type Page } from '@playwright/test';

type Account = { login: string; password: string };

export async function signIn(page: Page, account: Account): Promise<void> {
  await page.goto('/');
  await page.getByLabel('Login').fill(account.login);
  await page.getByLabel('Password').fill(account.password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('status')).toHaveText(`signed in as ${account.login}`);
}

export async function isSignedIn(page: Page, account: Account): Promise<boolean> {
  await page.goto('/');
  return page.getByText(`signed in as ${account.login}`).isVisible();
}
