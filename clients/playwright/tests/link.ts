// The package under its own name, for the suites that the tests write.
import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';

export default function link(): void {
  const place = join(__dirname, '../node_modules/@botfarm/playwright');
  if (existsSync(place)) return;
  mkdirSync(dirname(place), { recursive: true });
  symlinkSync('../..', place);
}
