"use strict";
var __createBinding = (this && this.__createBinding) || (Object.create ? (function(o, m, k, k2) {
    if (k2 === undefined) k2 = k;
    var desc = Object.getOwnPropertyDescriptor(m, k);
    if (!desc || ("get" in desc ? !m.__esModule : desc.writable || desc.configurable)) {
      desc = { enumerable: true, get: function() { return m[k]; } };
    }
    Object.defineProperty(o, k2, desc);
}) : (function(o, m, k, k2) {
    if (k2 === undefined) k2 = k;
    o[k2] = m[k];
}));
var __setModuleDefault = (this && this.__setModuleDefault) || (Object.create ? (function(o, v) {
    Object.defineProperty(o, "default", { enumerable: true, value: v });
}) : function(o, v) {
    o["default"] = v;
});
var __importStar = (this && this.__importStar) || (function () {
    var ownKeys = function(o) {
        ownKeys = Object.getOwnPropertyNames || function (o) {
            var ar = [];
            for (var k in o) if (Object.prototype.hasOwnProperty.call(o, k)) ar[ar.length] = k;
            return ar;
        };
        return ownKeys(o);
    };
    return function (mod) {
        if (mod && mod.__esModule) return mod;
        var result = {};
        if (mod != null) for (var k = ownKeys(mod), i = 0; i < k.length; i++) if (k[i] !== "default") __createBinding(result, mod, k[i]);
        __setModuleDefault(result, mod);
        return result;
    };
})();
Object.defineProperty(exports, "__esModule", { value: true });
exports.Transport = void 0;
// The one place where requests leave and answers arrive.
const node_fs_1 = require("node:fs");
const http = __importStar(require("node:http"));
const https = __importStar(require("node:https"));
const node_tls_1 = require("node:tls");
const durations_1 = require("./durations");
const errors_1 = require("./errors");
const version_1 = require("./version");
/** How long a service may be away: as long as it keeps a place in the queue. */
const longestOutage = 30_000;
const firstPause = 200;
const longestPause = 2000;
const passing = new Set([408, 502, 503, 504]);
// What Node calls the faults of a certificate.
const untrusted = /CERT|SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)|ERR_TLS_CERT_ALTNAME/;
/** What services had to say about versions, and was shown. */
const shown = new Set();
/** A service, and how to reach it. */
class Transport {
    url;
    #token;
    #ca;
    #givenUp = false;
    constructor(url, token, caFile) {
        const parsed = URL.canParse(url) ? new URL(url) : undefined;
        if (!parsed || !['http:', 'https:'].includes(parsed.protocol) || !parsed.hostname) {
            const shown = parsed ? `${parsed.protocol}…` : JSON.stringify(url);
            throw new errors_1.BotfarmError(`BOTFARM_URL must be the http(s):// address of a service, not ${shown}`, 'invalid');
        }
        if (parsed.username || parsed.password) {
            throw new errors_1.BotfarmError('BOTFARM_URL must not have a password in it; BOTFARM_TOKEN says who asks', 'invalid');
        }
        this.url = url.replace(/\/+$/, '');
        this.#token = token;
        this.#ca = caFile ? [...node_tls_1.rootCertificates, read('BOTFARM_CA_FILE', caFile)] : undefined;
    }
    /** By BOTFARM_URL, BOTFARM_TOKEN (each also with _FILE) and BOTFARM_CA_FILE. */
    static fromEnvironment() {
        const url = variable('BOTFARM_URL') ?? 'http://127.0.0.1:8000';
        return new Transport(url, variable('BOTFARM_TOKEN'), process.env.BOTFARM_CA_FILE);
    }
    /**
     * What the service answers, as JSON.
     *
     * A call that gets no answer is made again for `patience`. Every call may be: it looks, or names its lease. After a
     * service was out of reach for that long, one try is enough, lest every test of a suite waits anew.
     */
    async call(method, path, body, options = {}) {
        const { timeout = 10_000, patience = longestOutage } = options;
        let failingSince;
        for (let wait = firstPause;; wait = Math.min(2 * wait, longestPause)) {
            const begun = performance.now();
            try {
                const answer = await this.#exchange(method, path, body, timeout);
                this.#givenUp = false;
                return answer;
            }
            catch (error) {
                if (!(error instanceof errors_1.Unavailable))
                    throw error;
                failingSince ??= begun;
                if (this.#givenUp || performance.now() - failingSince + wait > patience) {
                    this.#givenUp ||= patience >= longestOutage;
                    throw error;
                }
            }
            await (0, durations_1.pause)(wait * (1 + Math.random() / 2));
        }
    }
    async #exchange(method, path, body, timeout) {
        const { status, text } = await this.#send(method, path, body, timeout).catch((error) => {
            throw this.#unreachable(error);
        });
        if (status >= 200 && status < 300) {
            if (!text)
                return undefined;
            const answer = parsed(text);
            if (answer === undefined)
                throw new errors_1.BotfarmError(`${this.url} answered what is no JSON; is it a botfarm service?`);
            return answer;
        }
        const problem = parsed(text);
        if (problem?.code)
            throw (0, errors_1.fromProblem)(problem);
        const detail = `the service at ${this.url} answered ${status} ${http.STATUS_CODES[status] ?? ''}`.trim();
        if (passing.has(status))
            throw new errors_1.Unavailable(detail, 'unavailable');
        throw new errors_1.BotfarmError(`${detail}; is this the URL of a botfarm service?`);
    }
    // Not `fetch`: that takes no authority of one's own, and follows redirects with the token.
    #send(method, path, body, timeout) {
        const payload = body && JSON.stringify(body);
        const headers = { accept: 'application/json', 'user-agent': `botfarm-playwright/${version_1.version}` };
        if (payload)
            Object.assign(headers, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) });
        if (this.#token)
            headers.authorization = `Bearer ${this.#token}`;
        const { request } = this.url.startsWith('https:') ? https : http;
        const options = { method, headers, signal: AbortSignal.timeout(Math.ceil(timeout)) };
        if (this.#ca)
            options.ca = this.#ca;
        return new Promise((done, failed) => {
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
    #unreachable(error) {
        const reason = error.name === 'AbortError' ? 'no answer in time' : error.message || error.code;
        if (untrusted.test(error.code ?? '')) {
            const hint = 'if it is the right service, name a file with its authority in BOTFARM_CA_FILE';
            return new errors_1.BotfarmError(`the certificate of ${this.url} is not trusted (${reason}); ${hint}`);
        }
        const hint = process.env.BOTFARM_URL ? '' : '; BOTFARM_URL says where it is';
        return new errors_1.Unavailable(`the service at ${this.url} cannot be reached: ${reason}${hint}`, 'unavailable');
    }
}
exports.Transport = Transport;
/** Shows what a service has to say about versions. */
function showOnce(notice) {
    const text = notice?.toString().replace(/[^ -~]/g, '?');
    if (!text || shown.has(text))
        return;
    shown.add(text);
    console.warn(`botfarm: ${text}`);
}
/** An environment variable, or the content of the file that the one with `_FILE` names. */
function variable(name) {
    const [value, file] = [process.env[name], process.env[`${name}_FILE`]];
    if (value && file)
        throw new errors_1.BotfarmError(`${name} and ${name}_FILE are both set; set one of them`, 'invalid');
    return (file ? read(`${name}_FILE`, file).trim() : value) || undefined;
}
function read(name, file) {
    try {
        return (0, node_fs_1.readFileSync)(file, 'utf8');
    }
    catch (error) {
        throw new errors_1.BotfarmError(`${name}: ${error.message}`, 'invalid');
    }
}
function parsed(text) {
    try {
        return JSON.parse(text);
    }
    catch {
        return undefined;
    }
}
