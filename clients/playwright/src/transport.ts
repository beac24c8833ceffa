// The one place where requests leave and answers arrive.
import { readFileSync } from 'node:fs';
import * as http from 'node:http';
import * as https from 'node:https';
import { rootCertificates } from 'node:tls';
import { pause } from './durations';
import { BotfarmError, Unavailable, fromProblem } from './errors';
import { version } from './version';
import type { Problem } from './wire';

/** How long a service may be away: as long as it keeps a place in the queue. */
const longestOutage = 30_000;
const firstPause = 200;
const longestPause = 2000;
const passing = new Set([408, 502, 503, 504]);
// What Node calls the faults of a certificate.
const untrusted = /CERT|SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)|ERR_TLS_CERT_ALTNAME/;

/** What services had to say about versions, and was shown. */
const shown = new Set<string>();

export type Options = {
  /** How long an answer may take. Times are in milliseconds. */
  timeout?: number;
  /** How long to go on asking a service that is away. */
  patience?: number;
};

/** A service, and how to reach it. */
export class Transport {
  readonly url: string;
  readonly #token: string | undefined;
  readonly #ca: string[] | undefined;
  #givenUp = false;

  constructor(url: string, token?: string, caFile?: string) {
    const parsed = URL.canParse(url) ? new URL(url) : undefined;
    if (!parsed || !['http:', 'https:'].includes(parsed.protocol) || !parsed.hostname) {
      const shown = parsed ? `${parsed.protocol}…` : JSON.stringify(url);
      throw new BotfarmError(`BOTFARM_URL must be the http(s):// address of a service, not ${shown}`, 'invalid');
    }
    if (parsed.username || parsed.password) {
      throw new BotfarmError('BOTFARM_URL must not have a password in it; BOTFARM_TOKEN says who asks', 'invalid');
    }
    this.url = url.replace(/\/+$/, '');
    this.#token = token;
    this.#ca = caFile ? [...rootCertificates, read('BOTFARM_CA_FILE', caFile)] : undefined;
  }

  /** By BOTFARM_URL, BOTFARM_TOKEN (each also with _FILE) and BOTFARM_CA_FILE. */
  static fromEnvironment(): Transport {
    const url = variable('BOTFARM_URL') ?? 'http://127.0.0.1:8000';
    return new Transport(url, variable('BOTFARM_TOKEN'), process.env.BOTFARM_CA_FILE);
  }

  /**
   * What the service answers, as JSON.
   *
   * A call that gets no answer is made again for `patience`. Every call may be: it looks, or names its lease. After a
   * service was out of reach for that long, one try is enough, lest every test of a suite waits anew.
   */
  async call(method: string, path: string, body?: object, options: Options = {}): Promise<unknown> {
    const { timeout = 10_000, patience = longestOutage } = options;
    let failingSince: number | undefined;
    for (let wait = firstPause; ; wait = Math.min(2 * wait, longestPause)) {
      const begun = performance.now();
      try {
        const answer = await this.#exchange(method, path, body, timeout);
        this.#givenUp = false;
        return answer;
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        failingSince ??= begun;
        if (this.#givenUp || performance.now() - failingSince + wait > patience) {
          this.#givenUp ||= patience >= longestOutage;
          throw error;
        }
      }
      await pause(wait * (1 + Math.random() / 2));
    }
  }

  async #exchange(method: string, path: string, body: object | undefined, timeout: number): Promise<unknown> {
    const { status, text } = await this.#send(method, path, body, timeout).catch((error) => {
      throw this.#unreachable(error);
    });
    if (status >= 200 && status < 300) {
      if (!text) return undefined;
      const answer = parsed(text);
      if (answer === undefined) throw new BotfarmError(`${this.url} answered what is no JSON; is it a botfarm service?`);
      return answer;
    }
    const problem: Problem | undefined = parsed(text);
    if (problem?.code) throw fromProblem(problem);
    const detail = `the service at ${this.url} answered ${status} ${http.STATUS_CODES[status] ?? ''}`.trim();
    if (passing.has(status)) throw new Unavailable(detail, 'unavailable');
    throw new BotfarmError(`${detail}; is this the URL of a botfarm service?`);
  }

  // Not `fetch`: that takes no authority of one's own, and follows redirects with the token.
  #send(method: string, path: string, body: object | undefined, timeout: number) {
    const payload = body && JSON.stringify(body);
    const headers: http.OutgoingHttpHeaders = { accept: 'application/json', 'user-agent': `botfarm-playwright/${version}` };
    if (payload) Object.assign(headers, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) });
    if (this.#token) headers.authorization = `Bearer ${this.#token}`;
    const { request } = this.url.startsWith('https:') ? https : http;
    const options: https.RequestOptions = { method, headers, signal: AbortSignal.timeout(Math.ceil(timeout)) };
    if (this.#ca) options.ca = this.#ca;
    return new Promise<{ status: number; text: string }>((done, failed) => {
      const sent = request(`${this.url}/api/v1${path}`, options, (answer) => {
        showOnce(answer.headers['botfarm-notice']);
        let text = '';
        answer.setEncoding('utf8');
        answer.on('data', (more) => (text += more));
        answer.on('end', () => done({ status: answer.statusCode ?? 0, text }));
        answer.on('error', failed);
      });
      sent.on('error', failed);
      sent.end(payload);
    });
  }

  #unreachable(error: NodeJS.ErrnoException): BotfarmError {
    const reason = error.name === 'AbortError' ? 'no answer in time' : error.message || error.code;
    if (untrusted.test(error.code ?? '')) {
      const hint = 'if it is the right service, name a file with its authority in BOTFARM_CA_FILE';
      return new BotfarmError(`the certificate of ${this.url} is not trusted (${reason}); ${hint}`);
    }
    const hint = process.env.BOTFARM_URL ? '' : '; BOTFARM_URL says where it is';
    return new Unavailable(`the service at ${this.url} cannot be reached: ${reason}${hint}`, 'unavailable');
  }
}

/** Shows what a service has to say about versions. */
function showOnce(notice: string | string[] | undefined) {
  const text = notice?.toString().replace(/[^ -~]/g, '?');
  if (!text || shown.has(text)) return;
  shown.add(text);
  console.warn(`botfarm: ${text}`);
}

/** An environment variable, or the content of the file that the one with `_FILE` names. */
function variable(name: string): string | undefined {
  const [value, file] = [process.env[name], process.env[`${name}_FILE`]];
  if (value && file) throw new BotfarmError(`${name} and ${name}_FILE are both set; set one of them`, 'invalid');
  return (file ? read(`${name}_FILE`, file).trim() : value) || undefined;
}

function read(name: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new BotfarmError(`${name}: ${(error as Error).message}`, 'invalid');
  }
}

function parsed(text: string): object | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
