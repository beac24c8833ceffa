// What the runner of GitHub Actions says to an action, and hears from it.
import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';

export function input(name: string): string {
  return (process.env[`INPUT_${name.toUpperCase()}`] ?? '').trim();
}

/** For the steps that follow. */
export function output(name: string, value: string): void {
  append('GITHUB_OUTPUT', name, value);
}

/** For the post step alone. */
export function keep(name: string, value: string): void {
  append('GITHUB_STATE', name, value);
}

export function kept(name: string): string {
  return process.env[`STATE_${name}`] ?? '';
}

/** From here on the log shows *** in its place. */
export function mask(secret: string): void {
  // Each line by itself: the log is masked by the line.
  for (const line of new Set([secret, ...secret.split(/\r?\n/)])) {
    if (line) process.stdout.write(`::add-mask::${escaped(line)}\n`);
  }
}

export function say(text: string): void {
  process.stdout.write(`${text.trimEnd()}\n`);
}

/** Fails the step. */
export function fail(error: unknown): void {
  process.stdout.write(`::error::${escaped(error instanceof Error ? error.message : String(error))}\n`);
  process.exitCode = 1;
}

function append(file: string, name: string, value: string): void {
  const path = process.env[file];
  if (!path) throw new Error(`${file} is not set: this runs in GitHub Actions`);
  // A value could otherwise end itself and begin another.
  const end = randomUUID();
  appendFileSync(path, `${name}<<${end}\n${value}\n${end}\n`);
}

function escaped(text: string): string {
  return text.replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A');
}
