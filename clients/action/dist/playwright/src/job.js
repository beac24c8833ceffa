"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.found = found;
exports.holder = holder;
exports.run = run;
// Who holds: the CI job, otherwise whoever sits at the keyboard. The same names as `botfarm run` gives.
const node_os_1 = require("node:os");
const longest = 200;
/** Looks at the environment. */
function found(variables = process.env) {
    const job = ci(variables) ?? { name: person(variables) };
    const url = page(job.url);
    return url ? { name: job.name.trim(), url } : { name: job.name.trim() };
}
/** The name under which others see the account held. BOTFARM_HOLDER is it, if that is set. */
function holder(test, variables = process.env) {
    if (variables.BOTFARM_HOLDER)
        return flat(variables.BOTFARM_HOLDER).slice(0, longest);
    const job = flat(found(variables).name).slice(0, longest / 2);
    if (!test)
        return job;
    // The end of a test's name tells more than its start.
    return `${flat(test).slice(-(longest - job.length - 2)).trim()}, ${job}`;
}
/** What the lease is a part of: BOTFARM_RUN, else the run of the CI service. */
function run(all = process.env) {
    if (all.BOTFARM_RUN)
        return flat(all.BOTFARM_RUN).slice(0, longest);
    // Half a name would be shared by strangers.
    const whole = (service, ...parts) => parts.every(Boolean) ? flat([service, ...parts].join(' ')).slice(0, longest) : undefined;
    if (all.GITHUB_ACTIONS) {
        const attempt = all.GITHUB_RUN_ID && `${all.GITHUB_RUN_ID}/${all.GITHUB_RUN_ATTEMPT || '1'}`;
        return whole('GitHub', all.GITHUB_REPOSITORY, attempt);
    }
    if (all.GITLAB_CI)
        return whole('GitLab', all.CI_PROJECT_PATH, all.CI_PIPELINE_ID);
    if (all.BUILDKITE)
        return whole('Buildkite', all.BUILDKITE_PIPELINE_SLUG, all.BUILDKITE_BUILD_NUMBER);
    if (all.JENKINS_URL)
        return whole('Jenkins', all.JOB_NAME, all.BUILD_NUMBER);
    return undefined;
}
function ci(all) {
    const or = (name, otherwise) => all[name] || otherwise;
    if (all.GITHUB_ACTIONS) {
        const repository = or('GITHUB_REPOSITORY', '?');
        const number = or('GITHUB_RUN_NUMBER', '?');
        const name = `GitHub ${repository} ${or('GITHUB_WORKFLOW', '?')} #${number} ${or('GITHUB_JOB', '')}`;
        if (!all.GITHUB_RUN_ID)
            return { name };
        const run = `${all.GITHUB_RUN_ID}/attempts/${or('GITHUB_RUN_ATTEMPT', '1')}`;
        return { name, url: `${or('GITHUB_SERVER_URL', 'https://github.com')}/${repository}/actions/runs/${run}` };
    }
    if (all.GITLAB_CI) {
        const name = `GitLab ${or('CI_PROJECT_PATH', '?')} ${or('CI_JOB_NAME', '?')} #${or('CI_JOB_ID', '?')}`;
        return { name, url: or('CI_JOB_URL', '') };
    }
    if (all.BUILDKITE) {
        const number = or('BUILDKITE_BUILD_NUMBER', '?');
        const name = `Buildkite ${or('BUILDKITE_PIPELINE_SLUG', '?')} #${number} ${or('BUILDKITE_LABEL', '')}`;
        const build = or('BUILDKITE_BUILD_URL', '');
        return { name, url: build && all.BUILDKITE_JOB_ID ? `${build}#${all.BUILDKITE_JOB_ID}` : build };
    }
    if (all.JENKINS_URL) {
        const name = `Jenkins ${or('JOB_NAME', '?')} #${or('BUILD_NUMBER', '?')}`;
        return { name, url: or('BUILD_URL', '') };
    }
    return undefined;
}
function person(all) {
    return `${all.USER || all.LOGNAME || all.USERNAME || 'somebody'}@${(0, node_os_1.hostname)()}`;
}
/** The address, if the service takes it for one. */
function page(url) {
    return url && /^https?:\/\//.test(url) && url.length <= 2000 ? url : undefined;
}
function flat(text) {
    return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, ' ').trim();
}
