// Suites that use the package as anybody would, each run by a Playwright of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import type { TestInfo } from '@playwright/test';
import { botfarm, type Service } from './service';

export type Result = { title: string; status: string; error: string; annotations: { type: string; description?: string }[] };

export type Run = {
  code: number | null;
  /** All that was printed. */
  output: string;
  results: Result[];
  /** Problems that belong to no test. */
  errors: string[];
  /** The whole report. */
  report: string;
};

export type Suite = {
  /** The file of tests, after its imports. */
  spec: string;
  /** What goes into `use` of the configuration, and what beside it. */
  use?: string;
  config?: string;
  options?: string[];
  service?: Service;
  variables?: Record<string, string>;
};

const chromium = process.env.CHROMIUM || '/usr/bin/chromium';
const flags = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

/** Starts a suite in a folder of the test's own, under this package, whose name it may so import. */
export function start(testInfo: TestInfo, suite: Suite) {
  const folder = testInfo.outputPath('suite');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'suite.spec.ts'), `
    import { existsSync, rmSync, writeFileSync } from 'node:fs';
    import { setTimeout as pause } from 'node:timers/promises';
    import { test, expect } from '@botfarm/playwright';

    /** Fails when somebody else is in here with the same account. */
    async function alone(login: string) {
      writeFileSync(login, '', { flag: 'wx' });
      await pause(20);
      rmSync(login);
    }

    ${suite.spec}
  `);
  writeFileSync(join(folder, 'playwright.config.ts'), `
    import { defineConfig } from '@playwright/test';
    import type { BotfarmOptions } from '@botfarm/playwright';

    export default defineConfig<BotfarmOptions>({
      fullyParallel: true,
      outputDir: 'results',
      reporter: [['list'], ['json', { outputFile: 'report.json' }]],
      ${suite.config ?? ''}
      use: {
        launchOptions: { executablePath: ${JSON.stringify(chromium)}, args: ${JSON.stringify(flags)} },
        ${suite.use ?? ''}
      },
    });
  `);
  const strange = /^(BOTFARM_|PLAYWRIGHT_|PW|TEST_|CI|GITHUB_|GITLAB_|BUILDKITE|JENKINS_|FORCE_COLOR)/;
  const clean = Object.entries(process.env).filter(([name]) => !strange.test(name));
  const child = spawn(process.execPath, [require.resolve('@playwright/test/cli'), 'test', ...(suite.options ?? [])], {
    cwd: folder,
    env: {
      ...Object.fromEntries(clean),
      USER: 'ann',
      PATH: `${dirname(botfarm)}${delimiter}${process.env.PATH}`,
      ...(suite.service && { BOTFARM_URL: `http://127.0.0.1:${suite.service.door.port}`, DIRECT: suite.service.url }),
      ...suite.variables,
    },
  });
  return { child, folder };
}

/** Runs a suite to its end. */
export async function run(testInfo: TestInfo, suite: Suite): Promise<Run> {
  const { child, folder } = start(testInfo, suite);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (more) => (output += more));
  const [code] = await once(child, 'close');
  const file = join(folder, 'report.json');
  const report = existsSync(file) ? readFileSync(file, 'utf8') : '{"suites":[],"errors":[]}';
  const { suites, errors } = JSON.parse(report);
  return { code, output, results: suites.flatMap(results), errors: errors.map(({ message }: any) => message), report };
}

function results(suite: any): Result[] {
  const own = (suite.specs ?? []).flatMap(({ title, tests }: any) =>
    tests.map(({ annotations, results }: any) => {
      const last = results.at(-1);
      const error = (last?.errors ?? []).map(({ message }: any) => message).join('\n');
      return { title, status: last?.status ?? 'none', error, annotations };
    }),
  );
  return [...own, ...(suite.suites ?? []).flatMap(results)];
}

/** How many tests ended so. */
export function count(run: Run, status: string): number {
  return run.results.filter((result) => result.status === status).length;
}
