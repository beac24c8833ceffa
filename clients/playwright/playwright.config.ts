import { defineConfig } from '@playwright/test';

export default defineConfig({
  globalSetup: './tests/link.ts',
  testDir: 'tests',
  // What the tests write is a suite, too.
  testMatch: 'tests/*.spec.ts',
  fullyParallel: true,
  workers: 4,
  timeout: 240_000,
  reporter: 'dot',
});
