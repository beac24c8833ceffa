import { setTimeout as pause } from 'node:timers/promises';
import { expect, test } from './service';
import { count, run } from './suite';

const many = `
  for (let number = 0; number < 24; number++) {
    test(\`visit \${number}\`, async ({ account }) => { await alone(account.login); });
  }
`;

for (const [scope, workers, leases] of [['worker', 3, 3], ['test', 6, 24]] as const) {
  test(`workers never share an account, each ${scope} with one of its own`, async ({ service }, testInfo) => {
    const use = `botfarm: { scope: '${scope}' },`;
    const done = await run(testInfo, { spec: many, use, options: [`--workers=${workers}`], service });
    expect(count(done, 'passed'), done.output).toBe(24);
    expect(await service.held()).toEqual([]);
    expect((await service.history()).length).toBe(leases);
  });

  test(`a lost lease fails the test, of a ${scope}`, async ({ service }, testInfo) => {
    const spec = `
      test('loses it', async ({ account }) => {
        const body = JSON.stringify({ reason: 'somebody needs it' });
        const url = \`\${process.env.DIRECT}/api/v1/users/\${account.id}/revoke\`;
        const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
        expect(answer.status).toBe(200);
      });
      test('is given another', async ({ account }) => {});
    `;
    const use = `botfarm: { scope: '${scope}' },`;
    const done = await run(testInfo, { spec, use, options: ['--workers=1'], service });
    expect(done.code).toBe(1);
    expect(done.results.map(({ status }) => status)).toEqual(['failed', 'passed']);
    expect(done.results[0]?.error).toContain('somebody needs it');
    expect(done.errors).toEqual([]);
  });

  for (const [setting, left] of [['', 'ready'], ["onFailure: 'dirty'", 'dirty'], ["onFailure: 'broken'", 'broken']]) {
    test(`a failed test of a ${scope} leaves its account ${left} by the setting ${setting}`, async ({ service }, testInfo) => {
      const spec = `test('fails', async ({ account }) => { expect(account.login).toBe('somebody else'); });`;
      const use = `wanted: { labels: { role: 'admin' } }, botfarm: { scope: '${scope}', ${setting} },`;
      const done = await run(testInfo, { spec, use, service });
      expect(count(done, 'failed'), done.output).toBe(1);
      expect(await service.conditions()).toEqual([left, 'ready', 'ready']);
      expect(await service.held()).toEqual([]);
    });
  }
}

test('the tests above can fail', async ({ service }, testInfo) => {
  const spec = many.replace('account.login', "'ada'");
  const done = await run(testInfo, { spec, options: ['--workers=6'], service });
  expect(count(done, 'failed')).toBeGreaterThan(0);
});

test('a test that passes leaves its account clean unless it says otherwise', async ({ service }, testInfo) => {
  const spec = `
    test.use({ botfarm: { scope: 'test', onFailure: 'broken' } });
    test.describe('an admin', () => {
      test.use({ wanted: { labels: { role: 'admin' } } });
      test('leaves it dirty', async ({ account }) => { account.outcome = 'dirty'; });
    });
    test('leaves it clean', async ({ account }) => {});
    test('is to fail, and does', async ({ account }) => { test.fail(); expect(1).toBe(2); });
  `;
  const done = await run(testInfo, { spec, options: ['--workers=1'], service });
  expect(done.code, done.output).toBe(0);
  expect(await service.conditions()).toEqual(['dirty', 'ready', 'ready']);
});

test('a worker gives back what it has before it takes another kind', async ({ service }, testInfo) => {
  const spec = `
    test.describe('of one kind', () => {
      test.use({ wanted: { login: 'ada@shop.example' } });
      test('first', async ({ account }) => { expect(account.login).toBe('ada@shop.example'); });
      test('again', async ({ account }) => { expect(account.fence).toBe(1); });
    });
    test.describe('of another', () => {
      test.use({ wanted: { labels: { role: 'member' } } });
      test('second', async ({ account }) => {
        expect(account.labels).toEqual({ role: 'member' });
        const leased = await fetch(\`\${process.env.DIRECT}/api/v1/users?state=leased\`);
        expect((await leased.json()).length).toBe(1);
      });
    });
  `;
  const done = await run(testInfo, { spec, options: ['--workers=1'], service });
  expect(count(done, 'passed'), done.output).toBe(3);
});

test('a service that is away for ten seconds does not hurt', async ({ service }, testInfo) => {
  const spec = `
    // One holds while the service goes away, the others ask for theirs meanwhile, or give theirs back.
    for (const seconds of [12, 0.5, 0.2, 0.1, 0]) {
      test(\`goes on for \${seconds} s\`, async ({ account }) => { await pause(seconds * 1000); });
    }
  `;
  const use = `botfarm: { scope: 'test', ttl: '15s' },`;
  const running = run(testInfo, { spec, use, options: ['--workers=2'], service });
  await expect.poll(() => service.held(), { timeout: 100_000, intervals: [10] }).not.toEqual([]);
  service.door.shut();
  await pause(10_000);
  await service.door.open();
  const done = await running;
  expect(count(done, 'passed'), done.output).toBe(5);
  expect(await service.held()).toEqual([]);
});

for (const scope of ['worker', 'test']) {
  test(`a wait says who holds and takes nothing of the timeout of a test, for a ${scope}`, async ({ service }, testInfo) => {
    const spec = `test('waits', async ({ account }) => {});`;
    const use = `wanted: { labels: { role: 'admin' } }, botfarm: { scope: '${scope}' },`;
    const lease = await service.hold('the night shift');
    const running = run(testInfo, { spec, use, config: 'timeout: 1000,', service });
    await expect.poll(() => service.waiting(), { timeout: 60_000 }).toBe(1);
    await pause(3000);
    await lease.release();
    const done = await running;
    expect(count(done, 'passed'), done.output).toBe(1);
    expect(done.output).toMatch(/botfarm: waiting for role=admin, [45]m \d+s more at most: .*\n  ada@shop.example is held by the night shift/);
  });
}

test('a test that hangs still ends in time', async ({ service }, testInfo) => {
  const spec = `test('hangs', async ({ account }) => { await pause(60_000); });`;
  const done = await run(testInfo, { spec, config: 'timeout: 1000,', service });
  expect(count(done, 'timedOut'), done.output).toBe(1);
  expect(await service.held()).toEqual([]);
});

test('in vain a wait says who holds', async ({ service }, testInfo) => {
  const spec = `test('waits', async ({ account }) => {});`;
  const use = `wanted: { labels: { role: 'admin' } }, botfarm: { wait: '1s' },`;
  await service.hold('the night shift');
  const done = await run(testInfo, { spec, use, service });
  expect(done.results[0]?.error).toMatch(/no account for role=admin within 1s: .*\n  ada@shop.example is held by the night shift/);
});

test('what no account could be is refused at once', async ({ service }, testInfo) => {
  const spec = `test('never', async ({ account }) => {});`;
  const done = await run(testInfo, { spec, use: `wanted: { labels: { role: 'emperor' } },`, service });
  expect(done.results[0]?.error).toMatch(/botfarm: .*emperor/);
  expect(done.output).not.toContain('waiting');
});

test('several accounts come together', async ({ service }, testInfo) => {
  const spec = `
    test.describe('two', () => {
      test.use({ wantedAccounts: { boss: { labels: { role: 'admin' } }, staff: { labels: { role: 'member' } } } });
      for (let number = 0; number < 6; number++) {
        test(\`together \${number}\`, async ({ accounts, account }) => {
          expect(accounts.boss.labels.role).toBe('admin');
          expect(accounts.staff.labels.role).toBe('member');
          expect(account).toBe(accounts.boss);
        });
      }
    });
    test('which', async ({ accounts }) => {});
  `;
  const use = `wanted: { env: 'stage' }, botfarm: { scope: 'test' },`;
  const done = await run(testInfo, { spec, use, options: ['--workers=3'], service });
  expect([count(done, 'passed'), count(done, 'failed')], done.output).toEqual([6, 1]);
  expect(done.output).toContain('which accounts? Say test.use');
});

test('the report says which account and who held it, and no secret', async ({ service }, testInfo) => {
  const variables = {
    JENKINS_URL: 'https://jenkins.example.com/',
    JOB_NAME: 'shop',
    BUILD_NUMBER: '12',
    BUILD_URL: 'https://jenkins.example.com/job/shop/12/',
  };
  const spec = `
    test('fails', async ({ account }) => {
      console.log(account, String(account), JSON.stringify(account));
      expect(account).toEqual({});
    });
  `;
  const use = `wanted: { labels: { role: 'admin' } }, botfarm: { scope: 'test' },`;
  const done = await run(testInfo, { spec, use, service, variables });
  const holder = 'Playwright suite.spec.ts › fails, Jenkins shop #12';
  expect(done.results[0]?.annotations).toMatchObject([
    { type: 'account', description: `ada@shop.example (stage), held by ${holder}` },
  ]);
  expect(await service.history()).toMatchObject([{ holder, run: 'Jenkins shop 12', url: variables.BUILD_URL }]);
  for (const said of [done.output, done.report]) {
    expect(said).toContain('ada@shop.example');
    expect(said).not.toContain('s3cret');
    expect(said).not.toContain('/leases/');
  }
});

test('a test without an account has none', async ({ service }, testInfo) => {
  const spec = `test('needs none', async ({ page }) => { await page.goto('data:text/html,hello'); });`;
  const done = await run(testInfo, { spec, service });
  expect(count(done, 'passed'), done.output).toBe(1);
  expect(await service.history()).toEqual([]);
});

for (const [settings, says] of [
  [`{ scope: 'moon' }`, 'the setting scope cannot be moon'],
  [`{ onFail: 'dirty' }`, 'there is no setting onFail, but scope, signIn'],
  [`{ wait: '5' }`, '"5" is no duration: write 90s, 5m or 1h 30m'],
  [`{ isSignedIn: async () => true }`, 'isSignedIn needs signIn, too'],
] as const) {
  test(`what cannot be is said: ${settings}`, async ({ service }, testInfo) => {
    const spec = `test('needs one', async ({ account }) => {});`;
    const done = await run(testInfo, { spec, use: `botfarm: ${settings} as {},`, service });
    expect(done.results[0]?.error).toContain(`botfarm: ${says}`);
  });
}

test('a farm that is no service is said so, without its password', async ({}, testInfo) => {
  const spec = `test('needs one', async ({ account }) => {});`;
  const done = await run(testInfo, { spec, variables: { BOTFARM_URL: 'postgres://ann:s3cret@db/farm' } });
  expect(done.results[0]?.error).toContain('BOTFARM_URL must be the http(s):// address of a service, not postgres:…');
  expect(done.output).not.toContain('s3cret');
});
