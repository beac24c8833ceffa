// The action as the runner of GitHub Actions calls it, against a real service.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, beforeEach, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

const here = new URL('..', import.meta.url).pathname;
const botfarm = process.env.BOTFARM || join(here, '../../target/debug/botfarm');
const project = '5f0c7e0a-0000-4000-8000-000000000001';
const bots = `login,password,project_id,env,label.role
ada@shop.example,s3cret-ada,${project},stage,admin
ben@shop.example,s3cret-ben,${project},stage,member
`;
const defaults = { wait: '10m', ttl: '2m', 'at-most': '6h', wanted: '', accounts: '' };

let folder, service, url;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'action-'));
  writeFileSync(join(folder, 'bots.csv'), bots);
  const env = { PATH: process.env.PATH, BOTFARM_URL: 'memory:', BOTFARM_STORE: 'memory:', RUST_LOG: 'error' };
  const options = ['serve', '--bots', join(folder, 'bots.csv'), '--listen', '127.0.0.1:0', '--until-eof'];
  service = spawn(botfarm, options, { env, stdio: ['pipe', 'pipe', 'inherit'] });
  [url] = (await once(createInterface(service.stdout), 'line'))[0].match(/http:\S+/);
});

after(async () => {
  service.stdin.end();
  await once(service, 'exit');
  rmSync(folder, { recursive: true });
});

let job;

beforeEach(() => {
  job = { output: join(folder, 'output'), state: join(folder, 'state') };
  for (const file of Object.values(job)) writeFileSync(file, '');
});

async function call(method, path, body) {
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${url}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  assert.ok(answer.ok, text);
  return text && JSON.parse(text);
}

const held = async () => (await call('GET', '/users?state=leased')).map(({ login }) => login);

/** What a step has written for others. */
function written(file) {
  const found = readFileSync(file, 'utf8').matchAll(/^(.+?)<<(\S+)\n([\s\S]*?)\n\2\n/gm);
  return Object.fromEntries([...found].map(([, name, , value]) => [name, value]));
}

/** Starts one of the two steps. */
function step(name, inputs = {}) {
  const given = Object.entries({ ...defaults, ...inputs }).map(([key, value]) => [`INPUT_${key.toUpperCase()}`, value]);
  const state = Object.entries(written(job.state)).map(([key, value]) => [`STATE_${key}`, value]);
  const env = {
    PATH: process.env.PATH,
    BOTFARM_URL: url,
    GITHUB_ACTIONS: 'true',
    GITHUB_REPOSITORY: 'acme/shop',
    GITHUB_WORKFLOW: 'e2e',
    GITHUB_RUN_NUMBER: '42',
    GITHUB_RUN_ID: '9001',
    GITHUB_JOB: 'shop',
    GITHUB_OUTPUT: job.output,
    GITHUB_STATE: job.state,
    ...Object.fromEntries([...given, ...state]),
  };
  return spawn(process.execPath, [join(here, `dist/action/src/${name}.js`)], { env, stdio: ['ignore', 'pipe', 'inherit'] });
}

async function ended(child) {
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (more) => (said += more));
  const [code] = await once(child, 'close');
  return { code, said };
}

const run = (name, inputs) => ended(step(name, inputs));

test('it leases for the job, hands over, masks, and gives back', async () => {
  const main = await run('main', { wanted: 'env=stage role=admin' });
  assert.equal(main.code, 0, main.said);
  const outputs = written(job.output);
  assert.equal(outputs.login, 'ada@shop.example');
  assert.equal(outputs.password, 's3cret-ada');
  assert.deepEqual(JSON.parse(outputs.accounts).account.labels, { role: 'admin' });
  const { lease } = written(job.state);
  // Nothing is said of a secret but that it is one.
  for (const secret of ['s3cret-ada', lease]) {
    assert.deepEqual(main.said.split('\n').filter((line) => line.includes(secret)), [`::add-mask::${secret}`]);
  }
  assert.deepEqual(await held(), ['ada@shop.example']);
  const [active] = await call('GET', '/leases');
  assert.equal(active.holder, 'GitHub acme/shop e2e #42 shop');
  assert.equal(active.url, 'https://github.com/acme/shop/actions/runs/9001/attempts/1');

  const post = await run('post');
  assert.deepEqual([post.code, await held()], [0, []], post.said);
  assert.match(post.said, /botfarm: gave back the lease of ada@shop.example/);
});

test('it keeps what it has for longer than it lives by itself, and no longer than it may', async () => {
  await run('main', { wanted: 'role=admin', ttl: '5s', 'at-most': '8s' });
  await pause(7000);
  assert.deepEqual(await held(), ['ada@shop.example']);
  await pause(8000);
  assert.deepEqual(await held(), []);
  const post = await run('post');
  assert.equal(post.code, 1);
  assert.match(post.said, /^::error::botfarm: .*expired.*: what the job has seen proves nothing$/m);
});

test('several come together, by their names', async () => {
  const main = await run('main', { wanted: 'env=stage', accounts: 'boss: role=admin\nstaff: role=member\n' });
  assert.equal(main.code, 0, main.said);
  const { boss, staff } = JSON.parse(written(job.output).accounts);
  assert.deepEqual([boss.login, staff.password], ['ada@shop.example', 's3cret-ben']);
  assert.match(main.said, /^::add-mask::s3cret-ben$/m);
  assert.equal((await run('post')).code, 0);
  assert.deepEqual(await held(), []);
});

test('a job that is cancelled while it waits leaves the queue', async () => {
  const { id } = await call('POST', '/leases', { users: [{ labels: { role: 'admin' } }], holder: 'the night shift' });
  const main = step('main', { wanted: 'role=admin' });
  const result = ended(main);
  while ((await call('GET', '/stats')).waiting === 0) await pause(10);
  await pause(1500);
  main.kill('SIGINT');
  const { said } = await result;
  assert.match(said, /ada@shop.example is held by the night shift/);
  const post = await run('post');
  assert.deepEqual([post.code, post.said.replace(/::add-mask::\S+\n/, '')], [0, '']);
  await call('DELETE', `/leases/${id}`);
  await pause(200);
  assert.deepEqual(await held(), []);
});

test('a job whose account is taken away fails at its end', async () => {
  await run('main', { wanted: 'role=admin' });
  const { id } = written(job.output);
  await call('POST', `/users/${id}/revoke`, { reason: 'somebody needs it' });
  const post = await run('post');
  assert.equal(post.code, 1);
  assert.match(post.said, /^::error::botfarm: .*somebody needs it/m);
});

for (const [inputs, says] of [
  [{ wanted: 'stage' }, /"stage" must be KEY=VALUE/],
  [{ accounts: 'boss!: role=admin' }, /must be NAME: KEY=VALUE/],
  [{ wait: '5' }, /"5" is no duration/],
  [{ wanted: 'role=emperor' }, /botfarm: .*emperor/],
  [{ url: 'postgres://ann:s3cret@db/farm' }, /must be the http\(s\):\/\/ address of a service, not postgres:/],
]) {
  test(`it says what cannot be: ${JSON.stringify(inputs)}`, async () => {
    const main = await run('main', inputs);
    assert.equal(main.code, 1);
    assert.match(main.said, says);
    assert.doesNotMatch(main.said, /s3cret/);
    assert.equal((await run('post')).code, 0);
  });
}
