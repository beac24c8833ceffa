import { BotfarmError } from '../../playwright/src/errors';
import type { Selector } from '../../playwright/src/wire';

const keys: Record<string, string> = { project: 'project_id' };
const fields = new Set(['id', 'login', 'project_id', 'env', 'domain', 'condition']);

/** Reads `KEY=VALUE…`, over what is wanted of all. */
export function selector(text: string, common: Selector = {}): Selector {
  const selector: Record<string, unknown> = { ...common };
  const labels: Record<string, string> = { ...common.labels };
  for (const part of text.split(/[\s,]+/).filter(Boolean)) {
    const [, key, value] = /^([^=]+)=(.+)$/.exec(part) ?? [];
    if (!key || !value) throw new BotfarmError(`"${part}" must be KEY=VALUE`, 'invalid');
    const field = keys[key] ?? key;
    if (fields.has(field)) selector[field] = value;
    else labels[key] = value;
  }
  return Object.keys(labels).length > 0 ? { ...selector, labels } : selector;
}

/** Reads lines of `NAME: KEY=VALUE…`. */
export function several(text: string, common: Selector): Selector[] {
  return text.split('\n').map((line) => line.trim()).filter(Boolean).map((line) => {
    const [, as, rest] = /^([\w-]{1,64}):?(?:\s+(.*))?$/.exec(line) ?? [];
    if (!as) throw new BotfarmError(`"${line}" must be NAME: KEY=VALUE…`, 'invalid');
    return { ...selector(rest ?? '', common), as };
  });
}
