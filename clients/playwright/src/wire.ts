// What the service reads and writes, as it is in JSON. https://…/docs of a service describes every field.

/** How an account is left: free for the next, to be cleaned first, or out of service. */
export type Outcome = 'clean' | 'dirty' | 'broken';

/** Which account is wanted: whatever is given must match. */
export type Selector = {
  /** What the account is for, among several. */
  as?: string;
  id?: string;
  login?: string;
  project_id?: string;
  env?: string;
  domain?: string;
  labels?: Record<string, string>;
  condition?: 'ready' | 'dirty' | 'broken';
};

export type User = {
  id: string;
  login: string;
  project_id: string;
  env: string;
  domain: string;
  labels: Record<string, string>;
};

export type LeaseUser = User & { as: string | null; password: string; fence: number };

export type GrantedLease = {
  holder: string;
  ttl_seconds: number;
  expires_in_seconds: number;
  renew_after_seconds: number;
  users: LeaseUser[];
};

export type ActiveLease = { holder: string; url: string | null; acquired_at: string; users: User[] };

export type Problem = {
  code?: string;
  title?: string;
  detail?: string;
  selector?: number;
  errors?: { pointer: string; detail: string }[];
};

/** A selector for people: `env=stage role=admin`. */
export function shown(selector: Selector): string {
  const { as: _, labels = {}, ...rest } = selector;
  const parts = [...Object.entries(rest), ...Object.entries(labels)].map(([key, value]) => `${key}=${value}`);
  return parts.join(' ') || 'any account';
}

/** Whether an account is of this kind, whatever condition it is in. */
export function fits(user: User, selector: Selector): boolean {
  const { as: _, labels = {}, condition: __, ...rest } = selector;
  const known: Record<string, unknown> = user;
  return (
    Object.entries(rest).every(([key, value]) => `${known[key]}`.toLowerCase() === `${value}`.toLowerCase()) &&
    Object.entries(labels).every(([key, value]) => user.labels[key] === value)
  );
}
