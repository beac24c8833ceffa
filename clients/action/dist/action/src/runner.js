"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.input = input;
exports.output = output;
exports.keep = keep;
exports.kept = kept;
exports.mask = mask;
exports.say = say;
exports.fail = fail;
// What the runner of GitHub Actions says to an action, and hears from it.
const node_crypto_1 = require("node:crypto");
const node_fs_1 = require("node:fs");
function input(name) {
    return (process.env[`INPUT_${name.toUpperCase()}`] ?? '').trim();
}
/** For the steps that follow. */
function output(name, value) {
    append('GITHUB_OUTPUT', name, value);
}
/** For the post step alone. */
function keep(name, value) {
    append('GITHUB_STATE', name, value);
}
function kept(name) {
    return process.env[`STATE_${name}`] ?? '';
}
/** From here on the log shows *** in its place. */
function mask(secret) {
    // Each line by itself: the log is masked by the line.
    for (const line of new Set([secret, ...secret.split(/\r?\n/)])) {
        if (line)
            process.stdout.write(`::add-mask::${escaped(line)}\n`);
    }
}
function say(text) {
    process.stdout.write(`${text.trimEnd()}\n`);
}
/** Fails the step. */
function fail(error) {
    process.stdout.write(`::error::${escaped(error instanceof Error ? error.message : String(error))}\n`);
    process.exitCode = 1;
}
function append(file, name, value) {
    const path = process.env[file];
    if (!path)
        throw new Error(`${file} is not set: this runs in GitHub Actions`);
    // A value could otherwise end itself and begin another.
    const end = (0, node_crypto_1.randomUUID)();
    (0, node_fs_1.appendFileSync)(path, `${name}<<${end}\n${value}\n${end}\n`);
}
function escaped(text) {
    return text.replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A');
}
