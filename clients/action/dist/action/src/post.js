"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
// Gives back at the end of the job, however it ended.
const errors_1 = require("../../playwright/src/errors");
const runner_1 = require("./runner");
const service_1 = require("./service");
const patience = 20_000;
async function post() {
    const [id, granted, renewer] = [(0, runner_1.kept)('lease'), (0, runner_1.kept)('granted'), Number((0, runner_1.kept)('renewer'))];
    if (!id)
        return;
    (0, runner_1.mask)(id);
    if (renewer) {
        try {
            process.kill(renewer);
        }
        catch {
            // It has ended by itself.
        }
    }
    try {
        await (0, service_1.service)().call('DELETE', `/leases/${id}`, undefined, { patience });
        if (granted)
            (0, runner_1.say)(`botfarm: gave back ${granted}`);
    }
    catch (error) {
        // Cancelled while it stood in the queue, it has nothing to give back.
        if (error instanceof errors_1.LeaseLost && !granted)
            return;
        if (error instanceof errors_1.LeaseLost)
            error.message += ': what the job has seen proves nothing';
        if (error instanceof errors_1.Unavailable)
            error.message += `; ${granted || 'the lease'} ends by itself`;
        throw error;
    }
}
post().catch(runner_1.fail).finally(() => process.exit());
