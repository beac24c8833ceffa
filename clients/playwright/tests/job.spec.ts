import { hostname } from 'node:os';
import { expect, test } from '@playwright/test';
import { milliseconds } from '../src/durations';
import { found, holder, run } from '../src/job';

const github = {
  GITHUB_ACTIONS: 'true',
  GITHUB_SERVER_URL: 'https://github.example.com',
  GITHUB_REPOSITORY: 'acme/shop',
  GITHUB_WORKFLOW: 'End to end',
  GITHUB_RUN_NUMBER: '42',
  GITHUB_RUN_ID: '9001',
  GITHUB_RUN_ATTEMPT: '2',
  GITHUB_JOB: 'e2e',
};
const gitlab = {
  GITLAB_CI: 'true',
  CI_PROJECT_PATH: 'acme/shop',
  CI_JOB_NAME: 'e2e 1/4',
  CI_JOB_ID: '77',
  CI_JOB_URL: 'https://gitlab.example.com/acme/shop/-/jobs/77',
};
const buildkite = {
  BUILDKITE: 'true',
  BUILDKITE_PIPELINE_SLUG: 'shop',
  BUILDKITE_BUILD_NUMBER: '7',
  BUILDKITE_LABEL: ':cypress: e2e',
  BUILDKITE_BUILD_URL: 'https://buildkite.com/acme/shop/builds/7',
  BUILDKITE_JOB_ID: '0190',
};
const jenkins = { JENKINS_URL: 'x', JOB_NAME: 'shop', BUILD_NUMBER: '12', BUILD_URL: 'https://ci.example/job/12/' };

test('jobs of one run share its name', () => {
  expect(run(github)).toBe('GitHub acme/shop 9001/2');
  expect(run({ ...github, GITHUB_JOB: 'smoke' })).toBe('GitHub acme/shop 9001/2');
  expect(run({ ...gitlab, CI_PIPELINE_ID: '5' })).toBe('GitLab acme/shop 5');
  expect(run(gitlab)).toBeUndefined();
  expect(run(buildkite)).toBe('Buildkite shop 7');
  expect(run(jenkins)).toBe('Jenkins shop 12');
  expect(run({ ...jenkins, BOTFARM_RUN: 'nightly' })).toBe('nightly');
  expect(run({ ...jenkins, JOB_NAME: '' })).toBeUndefined();
  expect(run({ USER: 'ann' })).toBeUndefined();
});

test('a job is named with its page', () => {
  const page = 'https://github.example.com/acme/shop/actions/runs/9001/attempts/2';
  expect(found(github)).toEqual({ name: 'GitHub acme/shop End to end #42 e2e', url: page });
  expect(found(gitlab)).toEqual({ name: 'GitLab acme/shop e2e 1/4 #77', url: gitlab.CI_JOB_URL });
  const build = 'https://buildkite.com/acme/shop/builds/7#0190';
  expect(found(buildkite)).toEqual({ name: 'Buildkite shop #7 :cypress: e2e', url: build });
  expect(found(jenkins)).toEqual({ name: 'Jenkins shop #12', url: 'https://ci.example/job/12/' });
  expect(found({ ...jenkins, BUILD_URL: 'ftp://x' })).toEqual({ name: 'Jenkins shop #12' });
  expect(found({ USER: 'ann' })).toEqual({ name: `ann@${hostname()}` });
  expect(found({ CI: 'true' })).toEqual({ name: `somebody@${hostname()}` });
});

test('a test is named before its job, and keeps its end when it is too long', () => {
  expect(holder('cart › pays', jenkins)).toBe('cart › pays, Jenkins shop #12');
  expect(holder('a\nb', { ...jenkins, BOTFARM_HOLDER: 'nightly' })).toBe('nightly');
  const long = holder(`${'x'.repeat(300)} › pays\n`, jenkins);
  expect(long.length).toBeLessThanOrEqual(200);
  expect(long).toMatch(/x › pays, Jenkins shop #12$/);
});

test('durations are read as the command reads them', () => {
  expect(['90s', '5m', '1h 30m', '500ms'].map(milliseconds)).toEqual([90_000, 300_000, 5_400_000, 500]);
  for (const text of ['5', '', '5 parsecs', 'm']) expect(() => milliseconds(text)).toThrow('is no duration');
});
