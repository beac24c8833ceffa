import type { BotfarmOptions } from '@botfarm/playwright';
import { defineConfig } from '@playwright/test';
import { isSignedIn, signIn } from './sign-in';

export default defineConfig<BotfarmOptions>({
  fullyParallel: true,
  workers: 6,
  reporter: 'list',
  use: {
    botfarm: { signIn, isSignedIn },
    baseURL: process.env.SITE_URL ?? 'http://127.0.0.1:8080',
    // A browser of the system, where Playwright's own is not installed.
    launchOptions: process.env.CHROMIUM && {
      executablePath: process.env.CHROMIUM,
      args: [
        '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
        '--disable-component-update', '--disable-sync',
      ],
    } || {},
  },
});
