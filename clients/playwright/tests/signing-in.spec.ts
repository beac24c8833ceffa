// In a browser, at a site that lets each account in once.
import { readdirSync, statSync } from 'node:fs';
import { expect, test } from './service';
import { count, run } from './suite';

const spec = `
  for (let number = 0; number < 6; number++) {
    test(\`visit \${number}\`, async ({ page, account }) => {
      await page.goto('/');
      await expect(page.getByRole('status')).toHaveText(\`signed in as \${account.login}\`);
    });
  }
`;

const signIn = `
  async signIn(page, account) {
    await page.goto('/');
    await page.getByLabel('Login').fill(account.login);
    await page.getByLabel('Password').fill(account.password);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText(\`signed in as \${account.login}\`).waitFor();
  },
`;

const isSignedIn = `
  async isSignedIn(page, account) {
    await page.goto('/');
    return page.getByText(\`signed in as \${account.login}\`).isVisible();
  },
`;

for (const scope of ['worker', 'test']) {
  test(`an account is signed in once, whoever has it, each ${scope} with one of its own`, async ({ service, site }, testInfo) => {
    const use = `baseURL: '${site.url}', botfarm: { scope: '${scope}', ${signIn} ${isSignedIn} },`;
    // The second run goes on with the sessions of the first: the site would let nobody in again.
    for (const workers of [3, 2]) {
      const done = await run(testInfo, { spec, use, options: [`--workers=${workers}`], service });
      expect(count(done, 'passed'), done.output).toBe(6);
      expect(done.output).not.toContain('s3cret');
    }
    expect(await site.collisions()).toBe(0);
    expect(await service.held()).toEqual([]);
    const folder = testInfo.outputPath('suite/.auth');
    const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
    expect(files.length).toBeGreaterThan(0);
    for (const file of files) expect(statSync(`${folder}/${file}`).mode & 0o077).toBe(0);
    expect(readdirSync(folder)).toContain('.gitignore');
  });
}

test('without a way to tell whether a session holds, it is kept for as long as the account', async ({ service, site }, testInfo) => {
  const use = `baseURL: '${site.url}', botfarm: { ${signIn} },`;
  const done = await run(testInfo, { spec, use, options: ['--workers=1'], service });
  expect(count(done, 'passed'), done.output).toBe(6);
  expect(readdirSync(testInfo.outputPath('suite'))).not.toContain('.auth');
});

test('a session that no longer holds is made anew', async ({ service, site }, testInfo) => {
  const use = `baseURL: '${site.url}', wanted: { labels: { role: 'admin' } }, botfarm: { ${signIn} ${isSignedIn} },`;
  const signsOut = `
    test('signs out', async ({ page }) => {
      await page.goto('/');
      await page.getByRole('button', { name: 'Sign out' }).click();
      await expect(page.getByRole('status')).toHaveText('nobody is signed in');
    });
    ${spec}
  `;
  const done = await run(testInfo, { spec: signsOut, use, options: ['--workers=1'], service });
  expect(count(done, 'passed'), done.output).toBe(7);
  expect(await site.collisions()).toBe(0);
});

test('who cannot sign in fails in the time of a test', async ({ service, site }, testInfo) => {
  const use = `baseURL: '${site.url}', botfarm: { async signIn(page) { await page.getByText('never').waitFor(); } },`;
  const one = `test('waits', async ({ page }) => {});`;
  const done = await run(testInfo, { spec: one, use, config: 'timeout: 2000,', service });
  expect(done.results[0]?.error).toContain('signing in took more than 2s, which is what a test may take');
  expect(await service.held()).toEqual([]);
});
