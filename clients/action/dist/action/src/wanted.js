"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.selector = selector;
exports.several = several;
const errors_1 = require("../../playwright/src/errors");
const keys = { project: 'project_id' };
const fields = new Set(['id', 'login', 'project_id', 'env', 'domain', 'condition']);
/** Reads `KEY=VALUE…`, over what is wanted of all. */
function selector(text, common = {}) {
    const selector = { ...common };
    const labels = { ...common.labels };
    for (const part of text.split(/[\s,]+/).filter(Boolean)) {
        const [, key, value] = /^([^=]+)=(.+)$/.exec(part) ?? [];
        if (!key || !value)
            throw new errors_1.BotfarmError(`"${part}" must be KEY=VALUE`, 'invalid');
        const field = keys[key] ?? key;
        if (fields.has(field))
            selector[field] = value;
        else
            labels[key] = value;
    }
    return Object.keys(labels).length > 0 ? { ...selector, labels } : selector;
}
/** Reads lines of `NAME: KEY=VALUE…`. */
function several(text, common) {
    return text.split('\n').map((line) => line.trim()).filter(Boolean).map((line) => {
        const [, as, rest] = /^([\w-]{1,64}):?(?:\s+(.*))?$/.exec(line) ?? [];
        if (!as)
            throw new errors_1.BotfarmError(`"${line}" must be NAME: KEY=VALUE…`, 'invalid');
        return { ...selector(rest ?? '', common), as };
    });
}
