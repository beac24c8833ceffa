#!/usr/bin/env node
// Starts the binary, where it could not be put in the place of this file.
const { spawn } = require('node:child_process');

const { binary } = require('./binary.js');

let file;
try {
  file = binary();
} catch (error) {
  console.error(`botfarm: ${error.message}`);
  process.exit(125);
}
const child = spawn(file, process.argv.slice(2), { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) {
  // A terminal's Ctrl-C and Ctrl-\ have reached the binary already.
  const fromTerminal = process.stdin.isTTY && (signal === 'SIGINT' || signal === 'SIGQUIT');
  process.on(signal, () => fromTerminal || child.kill(signal));
}
child.on('error', (error) => {
  console.error(`botfarm: ${error.message}`);
  process.exit(125);
});
child.on('exit', (code, signal) => process.exit(code ?? 128 + require('node:os').constants.signals[signal]));
