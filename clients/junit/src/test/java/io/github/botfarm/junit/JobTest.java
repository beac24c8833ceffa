package io.github.botfarm.junit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.InetAddress;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Whom others see. */
class JobTest {
    private static final Map<String, String> JENKINS = Map.of(
            "JENKINS_URL", "x", "JOB_NAME", "shop", "BUILD_NUMBER", "12", "BUILD_URL", "https://ci.example/job/12/");

    @Test
    void aJobIsNamedWithItsPage() throws Exception {
        Map<String, String> github = Map.of(
                "GITHUB_ACTIONS", "true", "GITHUB_SERVER_URL", "https://github.example.com",
                "GITHUB_REPOSITORY", "acme/shop", "GITHUB_WORKFLOW", "End to end", "GITHUB_RUN_NUMBER", "42",
                "GITHUB_RUN_ID", "9001", "GITHUB_RUN_ATTEMPT", "2", "GITHUB_JOB", "e2e");
        String run = "https://github.example.com/acme/shop/actions/runs/9001/attempts/2";
        assertEquals(new Job("GitHub acme/shop End to end #42 e2e", run), Job.found(github));
        String page = "https://gitlab.example.com/acme/shop/-/jobs/77";
        Map<String, String> gitlab = Map.of(
                "GITLAB_CI", "true", "CI_PROJECT_PATH", "acme/shop", "CI_JOB_NAME", "e2e 1/4", "CI_JOB_ID", "77",
                "CI_JOB_URL", page);
        assertEquals(new Job("GitLab acme/shop e2e 1/4 #77", page), Job.found(gitlab));
        Map<String, String> buildkite = Map.of(
                "BUILDKITE", "true", "BUILDKITE_PIPELINE_SLUG", "shop", "BUILDKITE_BUILD_NUMBER", "7",
                "BUILDKITE_LABEL", ":cypress: e2e", "BUILDKITE_BUILD_URL", "https://buildkite.com/acme/shop/builds/7",
                "BUILDKITE_JOB_ID", "0190");
        String build = "https://buildkite.com/acme/shop/builds/7#0190";
        assertEquals(new Job("Buildkite shop #7 :cypress: e2e", build), Job.found(buildkite));
        assertEquals(new Job("Jenkins shop #12", "https://ci.example/job/12/"), Job.found(JENKINS));
        Map<String, String> strange = new HashMap<>(JENKINS);
        strange.put("BUILD_URL", "ftp://x");
        assertEquals(new Job("Jenkins shop #12", null), Job.found(strange));
        String host = InetAddress.getLocalHost().getHostName();
        assertEquals(new Job("ann@" + host, null), Job.found(Map.of("USER", "ann")));
        assertEquals(new Job("somebody@" + host, null), Job.found(Map.of("CI", "true")));
    }

    @Test
    void jobsOfOneRunShareItsName() {
        Map<String, String> github = new HashMap<>(Map.of(
                "GITHUB_ACTIONS", "true", "GITHUB_REPOSITORY", "acme/shop", "GITHUB_RUN_ID", "9001",
                "GITHUB_RUN_ATTEMPT", "2", "GITHUB_JOB", "e2e"));
        assertEquals("GitHub acme/shop 9001/2", Job.run(github));
        github.put("GITHUB_JOB", "smoke");
        assertEquals("GitHub acme/shop 9001/2", Job.run(github));
        github.remove("GITHUB_RUN_ID");
        assertNull(Job.run(github));
        Map<String, String> gitlab =
                Map.of("GITLAB_CI", "true", "CI_PROJECT_PATH", "acme/shop", "CI_PIPELINE_ID", "5");
        assertEquals("GitLab acme/shop 5", Job.run(gitlab));
        Map<String, String> buildkite =
                Map.of("BUILDKITE", "true", "BUILDKITE_PIPELINE_SLUG", "shop", "BUILDKITE_BUILD_NUMBER", "7");
        assertEquals("Buildkite shop 7", Job.run(buildkite));
        assertEquals("Jenkins shop 12", Job.run(JENKINS));
        Map<String, String> chosen = new HashMap<>(JENKINS);
        chosen.put("BOTFARM_RUN", "nightly");
        assertEquals("nightly", Job.run(chosen));
        assertNull(Job.run(Map.of("USER", "ann")));
    }

    @Test
    void aTestIsNamedBeforeItsJobAndKeepsItsEndWhenItIsTooLong() {
        assertEquals("CartTest.pays, Jenkins shop #12", Job.holder("CartTest.pays", JENKINS));
        assertEquals("nightly", Job.holder("a\nb", Map.of("BOTFARM_HOLDER", "nightly")));
        String holder = Job.holder("x".repeat(300) + ".pays\n", JENKINS);
        assertTrue(holder.length() <= 200 && holder.endsWith("x.pays, Jenkins shop #12"), holder);
    }

    @Test
    void durationsAreReadAsTheCommandReadsThem() {
        assertEquals(Duration.ofSeconds(90), Durations.parse("90s"));
        assertEquals(Duration.ofMinutes(5), Durations.parse("5m"));
        assertEquals(Duration.ofMinutes(90), Durations.parse("1h 30m"));
        assertEquals(Duration.ofMillis(500), Durations.parse("500ms"));
        for (String text : List.of("5", "", "5 parsecs", "m")) {
            assertThrows(BotfarmException.class, () -> Durations.parse(text), text);
        }
    }
}
