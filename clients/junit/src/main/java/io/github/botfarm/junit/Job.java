package io.github.botfarm.junit;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Map;
import java.util.stream.Stream;

/** Who holds: the CI job, otherwise whoever sits at the keyboard. The same names as {@code botfarm run} gives. */
record Job(String name, String url) {
    private static final int LONGEST = 200;
    private static final int LONGEST_URL = 2000;

    /** Looks at the environment. The URL is null where there is none. */
    static Job found(Map<String, String> all) {
        Variables variables = new Variables(all);
        if (variables.has("GITHUB_ACTIONS")) {
            String repository = variables.or("GITHUB_REPOSITORY", "?");
            String run = variables.or("GITHUB_RUN_ID", "");
            String url = variables.or("GITHUB_SERVER_URL", "https://github.com") + "/" + repository + "/actions/runs/"
                    + run + "/attempts/" + variables.or("GITHUB_RUN_ATTEMPT", "1");
            return new Job(("GitHub " + repository + " " + variables.or("GITHUB_WORKFLOW", "?") + " #"
                    + variables.or("GITHUB_RUN_NUMBER", "?") + " " + variables.or("GITHUB_JOB", "")).strip(),
                    run.isEmpty() ? null : page(url));
        }
        if (variables.has("GITLAB_CI")) {
            return new Job("GitLab " + variables.or("CI_PROJECT_PATH", "?") + " " + variables.or("CI_JOB_NAME", "?")
                    + " #" + variables.or("CI_JOB_ID", "?"), page(variables.or("CI_JOB_URL", "")));
        }
        if (variables.has("BUILDKITE")) {
            String build = variables.or("BUILDKITE_BUILD_URL", "");
            String step = variables.or("BUILDKITE_JOB_ID", "");
            return new Job(("Buildkite " + variables.or("BUILDKITE_PIPELINE_SLUG", "?") + " #"
                    + variables.or("BUILDKITE_BUILD_NUMBER", "?") + " " + variables.or("BUILDKITE_LABEL", "")).strip(),
                    page(step.isEmpty() ? build : build + "#" + step));
        }
        if (variables.has("JENKINS_URL")) {
            return new Job("Jenkins " + variables.or("JOB_NAME", "?") + " #" + variables.or("BUILD_NUMBER", "?"),
                    page(variables.or("BUILD_URL", "")));
        }
        String person = Stream.of("USER", "LOGNAME", "USERNAME").filter(variables::has).findFirst()
                .map(name -> variables.or(name, "")).orElse("somebody");
        return new Job(person + "@" + host(), null);
    }

    /** The name under which others see the account held. BOTFARM_HOLDER is it, if that is set. */
    static String holder(String test, Map<String, String> all) {
        String chosen = all.getOrDefault("BOTFARM_HOLDER", "");
        if (!chosen.isEmpty()) {
            return first(flat(chosen), LONGEST);
        }
        String job = first(flat(found(all).name()), LONGEST / 2);
        String name = flat(test);
        // The end of a test's name tells more than its start.
        int rest = LONGEST - job.length() - 2;
        return name.substring(Math.max(0, name.length() - rest)).strip() + ", " + job;
    }

    /** What the lease is a part of: BOTFARM_RUN, else the run of the CI service; null where there is none. */
    static String run(Map<String, String> all) {
        Variables variables = new Variables(all);
        if (variables.has("BOTFARM_RUN")) {
            return first(flat(variables.or("BOTFARM_RUN", "")), LONGEST);
        }
        if (variables.has("GITHUB_ACTIONS")) {
            String run = variables.or("GITHUB_RUN_ID", "");
            String attempt = run.isEmpty() ? "" : run + "/" + variables.or("GITHUB_RUN_ATTEMPT", "1");
            return whole("GitHub", variables.or("GITHUB_REPOSITORY", ""), attempt);
        }
        if (variables.has("GITLAB_CI")) {
            return whole("GitLab", variables.or("CI_PROJECT_PATH", ""), variables.or("CI_PIPELINE_ID", ""));
        }
        if (variables.has("BUILDKITE")) {
            return whole("Buildkite", variables.or("BUILDKITE_PIPELINE_SLUG", ""),
                    variables.or("BUILDKITE_BUILD_NUMBER", ""));
        }
        if (variables.has("JENKINS_URL")) {
            return whole("Jenkins", variables.or("JOB_NAME", ""), variables.or("BUILD_NUMBER", ""));
        }
        return null;
    }

    /** Half a name would be shared by strangers. */
    private static String whole(String service, String of, String number) {
        boolean known = !of.isEmpty() && !number.isEmpty();
        return known ? first(flat(service + " " + of + " " + number), LONGEST) : null;
    }

    /** The address, if the service takes it for one. */
    private static String page(String url) {
        return url.matches("https?://\\S+") && url.length() <= LONGEST_URL ? url : null;
    }

    private static String flat(String text) {
        return text.replaceAll("[\\p{Cc}\\p{Zl}\\p{Zp}]", " ").strip();
    }

    private static String first(String text, int length) {
        return text.substring(0, Math.min(length, text.length()));
    }

    private static String host() {
        try {
            return InetAddress.getLocalHost().getHostName();
        } catch (UnknownHostException error) {
            return "localhost";
        }
    }

    /** Empty is as good as not set. */
    private record Variables(Map<String, String> all) {
        boolean has(String name) {
            return !or(name, "").isEmpty();
        }

        String or(String name, String otherwise) {
            String value = all.getOrDefault(name, "");
            return value.isEmpty() ? otherwise : value;
        }
    }
}
