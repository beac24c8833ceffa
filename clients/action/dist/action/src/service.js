"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.service = service;
const transport_1 = require("../../playwright/src/transport");
const runner_1 = require("./runner");
/** What the inputs name, or else the environment. */
function service() {
    for (const name of ['url', 'token']) {
        const given = (0, runner_1.input)(name);
        if (!given)
            continue;
        process.env[`BOTFARM_${name.toUpperCase()}`] = given;
        delete process.env[`BOTFARM_${name.toUpperCase()}_FILE`];
    }
    return transport_1.Transport.fromEnvironment();
}
