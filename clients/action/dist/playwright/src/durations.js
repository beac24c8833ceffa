"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.milliseconds = milliseconds;
exports.lasting = lasting;
exports.pause = pause;
const errors_1 = require("./errors");
const units = { ms: 1, s: 1000, sec: 1000, m: 60_000, min: 60_000, h: 3_600_000 };
const part = /(\d+)\s*([a-z]+)\s*/g;
/** Reads `90s`, `5m`, `1h 30m` as milliseconds, as the `botfarm` command does. */
function milliseconds(text) {
    const parts = [...text.matchAll(part)].map(([, number, unit = '']) => Number(number) * (units[unit] ?? NaN));
    const sum = parts.reduce((sum, each) => sum + each, 0);
    if (parts.length === 0 || text.replace(part, '').trim() || Number.isNaN(sum)) {
        throw new errors_1.BotfarmError(`${JSON.stringify(text)} is no duration: write 90s, 5m or 1h 30m`, 'invalid');
    }
    return sum;
}
/** For people: `4m 50s`. */
function lasting(duration) {
    const seconds = Math.max(0, Math.round(duration / 1000));
    return seconds >= 60 ? `${Math.floor(seconds / 60)}m ${seconds % 60}s` : `${seconds}s`;
}
/** Resolves after some milliseconds. Does not keep a process alive. */
function pause(duration) {
    return new Promise((done) => setTimeout(done, Math.max(0, duration)));
}
