"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
// Renews a lease while the steps of the job run.
const consumers_1 = require("node:stream/consumers");
const lease_1 = require("../../playwright/src/lease");
const transport_1 = require("../../playwright/src/transport");
const look = 1000;
async function main() {
    const { id, limit } = JSON.parse(await (0, consumers_1.text)(process.stdin));
    const transport = transport_1.Transport.fromEnvironment();
    const asked = performance.now();
    const granted = (await transport.call('POST', `/leases/${id}/renew`, {}));
    const lease = new lease_1.Lease(transport, id, granted, asked);
    // What became of it is told to the post step, which gives it back.
    const timer = setInterval(() => {
        if (lease.lost || performance.now() - asked > limit)
            process.exit();
    }, look);
    timer.ref();
}
main().catch(() => process.exit(1));
