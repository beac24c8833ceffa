// A service for one run.
import { readFileSync, readdirSync, writeFileSync, mkdirSync, existsSync } from 'node:fs';
import { once } from 'node:events';
import { expect, test } from './service';
import { count, run, start } from './suite';

const config = `globalSetup: '@botfarm/playwright/serve',`;
const spec = `
  for (let number = 0; number < 8; number++) {
    test(\`visit \${number}\`, async ({ account }) => {
      writeFileSync(\`url-\${number}\`, process.env.BOTFARM_URL!);
      await alone(account.login);
    });
  }
`;

function answers(url: string): Promise<boolean> {
  return fetch(`${url}/health`).then(() => true, () => false);
}

test('it serves a file to all workers and ends with the run', async ({ bots }, testInfo) => {
  const folder = testInfo.outputPath('suite');
  mkdirSync(folder);
  // What lies about in the folder has no say.
  writeFileSync(`${folder}/botfarm.toml`, 'listen = "0.0.0.0:8000"\nauth = "required"\n');
  const use = `botfarm: { scope: 'test', bots: '../${bots.split('/').at(-1)}' },`;
  const done = await run(testInfo, { spec, use, config, options: ['--workers=4'] });
  expect(count(done, 'passed'), done.output).toBe(8);
  const urls = new Set(readdirSync(folder).filter((name) => name.startsWith('url-')).map((name) => readFileSync(`${folder}/${name}`, 'utf8')));
  expect(urls.size).toBe(1);
  expect(await answers([...urls][0]!)).toBe(false);
});

test('it ends with a run that is killed', async ({ bots }, testInfo) => {
  const hangs = `test('hangs', async ({ account }) => { writeFileSync('url-0', process.env.BOTFARM_URL!); await pause(60_000); });`;
  const { child, folder } = start(testInfo, { spec: hangs, config, variables: { BOTFARM_BOTS: bots } });
  await expect.poll(() => existsSync(`${folder}/url-0`) && readFileSync(`${folder}/url-0`, 'utf8'), { timeout: 100_000 }).toBeTruthy();
  const url = readFileSync(`${folder}/url-0`, 'utf8');
  expect(await answers(url)).toBe(true);
  child.kill('SIGKILL');
  await once(child, 'exit');
  await expect.poll(() => answers(url), { timeout: 20_000 }).toBe(false);
});

test('a service that is named is used', async ({ service, bots }, testInfo) => {
  const done = await run(testInfo, { spec, config, service, use: `botfarm: { scope: 'test' },`, variables: { BOTFARM_BOTS: bots } });
  expect(count(done, 'passed'), done.output).toBe(8);
  expect((await service.history()).length).toBe(8);
});

for (const [name, suite, says] of [
  ['shards', { options: ['--shard=1/2'], variables: { BOTFARM_BOTS: 'bots.csv' } }, 'each shard would give out the accounts of'],
  ['no file', {}, 'nothing to serve: set `botfarm: { bots: FILE }` in `use`, or BOTFARM_BOTS'],
  ['a file that is not there', { variables: { BOTFARM_BOTS: 'none.csv' } }, 'none.csv cannot be read'],
  ['no command', { variables: { BOTFARM_BOTS: 'bots.csv', PATH: '/nowhere' } }, 'cannot be started'],
] as const) {
  test(`it says what is wrong with ${name}`, async ({}, testInfo) => {
    const done = await run(testInfo, { spec, config, ...suite, options: [...('options' in suite ? suite.options : [])] });
    expect(done.code).toBe(1);
    expect(done.output).toContain(says);
  });
}
