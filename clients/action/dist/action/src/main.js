"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
// Leases for the rest of the job.
const node_child_process_1 = require("node:child_process");
const node_crypto_1 = require("node:crypto");
const node_path_1 = require("node:path");
const durations_1 = require("../../playwright/src/durations");
const job_1 = require("../../playwright/src/job");
const queue_1 = require("../../playwright/src/queue");
const runner_1 = require("./runner");
const service_1 = require("./service");
const wanted_1 = require("./wanted");
async function main() {
    const common = (0, wanted_1.selector)((0, runner_1.input)('wanted'));
    const wanted = (0, wanted_1.several)((0, runner_1.input)('accounts'), common);
    const [wait, ttl, limit] = ['wait', 'ttl', 'at-most'].map((name) => (0, durations_1.milliseconds)((0, runner_1.input)(name)));
    const transport = (0, service_1.service)();
    // The id is known before the lease is: whatever happens from here on, the post step gives it back.
    const id = (0, node_crypto_1.randomUUID)();
    (0, runner_1.mask)(id);
    (0, runner_1.keep)('lease', id);
    const lease = await (0, queue_1.acquire)(transport, {
        id,
        wanted: wanted.length > 0 ? wanted : [common],
        wait: wait,
        ttl: ttl,
        holder: (0, job_1.holder)(),
        report: runner_1.say,
    });
    for (const { password } of lease.accounts)
        (0, runner_1.mask)(password);
    (0, runner_1.keep)('granted', String(lease));
    await renewElsewhere(id, limit);
    hand(lease);
    (0, runner_1.say)(`botfarm: ${lease}`);
}
/** This step ends, the job goes on: a process of its own renews the lease, until the post step or the runner ends it. */
async function renewElsewhere(id, limit) {
    const renewer = (0, node_child_process_1.spawn)(process.execPath, [(0, node_path_1.join)(__dirname, 'renew.js')], {
        detached: true,
        stdio: ['pipe', 'ignore', 'ignore'],
    });
    renewer.on('error', runner_1.fail);
    // Not in its arguments or its environment, which others can see.
    await new Promise((done) => renewer.stdin.end(JSON.stringify({ id, limit }), done));
    (0, runner_1.keep)('renewer', String(renewer.pid));
    renewer.unref();
}
function hand(lease) {
    const { login, password, id } = lease.account;
    (0, runner_1.output)('login', login);
    (0, runner_1.output)('password', password);
    (0, runner_1.output)('id', id);
    (0, runner_1.output)('accounts', JSON.stringify(Object.fromEntries(lease.accounts.map((each) => [each.as ?? 'account', plain(each)]))));
}
function plain({ id, login, password, env, domain, project_id, labels }) {
    return { id, login, password, env, domain, project_id, labels };
}
main().catch(runner_1.fail).finally(() => process.exit());
