"use strict";
// What the service reads and writes, as it is in JSON. https://…/docs of a service describes every field.
Object.defineProperty(exports, "__esModule", { value: true });
exports.shown = shown;
exports.fits = fits;
/** A selector for people: `env=stage role=admin`. */
function shown(selector) {
    const { as: _, labels = {}, ...rest } = selector;
    const parts = [...Object.entries(rest), ...Object.entries(labels)].map(([key, value]) => `${key}=${value}`);
    return parts.join(' ') || 'any account';
}
/** Whether an account is of this kind, whatever condition it is in. */
function fits(user, selector) {
    const { as: _, labels = {}, condition: __, ...rest } = selector;
    const known = user;
    return (Object.entries(rest).every(([key, value]) => `${known[key]}`.toLowerCase() === `${value}`.toLowerCase()) &&
        Object.entries(labels).every(([key, value]) => user.labels[key] === value));
}
