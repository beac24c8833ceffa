package io.github.botfarm.junit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What a suite sees of its accounts. */
class ExtensionTest {
    @TempDir
    Path folder;

    private Farm farm;
    private Door door;

    @BeforeEach
    void start() throws Exception {
        farm = Farm.start(folder);
        door = new Door(farm.port());
    }

    @AfterEach
    void stop() throws Exception {
        door.shut();
        farm.close();
    }

    private Run start(Class<?> suite, String... parameters) throws Exception {
        return Run.start(folder, suite, Map.of("BOTFARM_URL", door.url(), "DIRECT", farm.url), parameters);
    }

    private Run.Result run(Class<?> suite, String... parameters) throws Exception {
        return start(suite, parameters).end();
    }

    private static void until(Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + 60_000_000_000L;
        while (!condition.call()) {
            assertTrue(System.nanoTime() < deadline, "it does not come to that");
            Thread.sleep(10);
        }
    }

    private static void counts(Run.Result result, int passed, int failed) {
        assertTrue(result.output().contains(passed + " tests successful"), result.output());
        assertTrue(result.output().contains(failed + " tests failed"), result.output());
        assertEquals(failed > 0, result.code() != 0);
    }

    @Test
    void parallelTestsNeverShareAnAccount() throws Exception {
        counts(run(Suites.Visits.class), 24, 0);
        assertEquals(0, farm.held());
        assertEquals(24, farm.history().size());
    }

    @Test
    void withoutAnAccountTheyWould() throws Exception {
        assertNotEquals(0, run(Suites.Careless.class).code());
    }

    @Test
    void aClassKeepsTheAccountThatItAsksForBeforeAll() throws Exception {
        counts(run(Suites.OfAClass.class), 4, 0);
        assertEquals(1, farm.history().size());
        assertEquals(0, farm.held());
    }

    @ParameterizedTest
    @ValueSource(classes = {Suites.Loses.class, Suites.LosesThatOfItsClass.class})
    void aLostLeaseFailsTheTest(Class<?> suite) throws Exception {
        Run.Result result = run(suite);
        counts(result, 0, 1);
        assertTrue(result.output().contains("somebody needs it"), result.output());
        assertTrue(result.output().contains("0 containers failed"), result.output());
    }

    @ParameterizedTest
    @CsvSource({"clean, ready", "dirty, dirty", "broken, broken"})
    void aFailedTestLeavesItsAccountAsTheParameterSays(String setting, String left) throws Exception {
        counts(run(Suites.Fails.class, "botfarm.onFailure=" + setting), 0, 1);
        assertEquals(List.of(left, "ready", "ready"), farm.conditions());
    }

    @ParameterizedTest
    @ValueSource(classes = {Suites.FailsWithThatOfItsClass.class, Suites.FailsBefore.class})
    void soDoesOneThatFailsWithTheAccountOfItsClassOrBeforeItIsRun(Class<?> suite) throws Exception {
        counts(run(suite, "botfarm.onFailure=dirty"), 0, 1);
        assertEquals(List.of("dirty", "ready", "ready"), farm.conditions());
        assertEquals(0, farm.held());
    }

    @Test
    void aTestSaysItselfHowItLeavesItsAccount() throws Exception {
        counts(run(Suites.LeavesItDirty.class, "botfarm.onFailure=broken"), 1, 0);
        assertEquals(List.of("dirty", "ready", "ready"), farm.conditions());
    }

    @Test
    void aServiceThatIsAwayForTenSecondsDoesNotHurt() throws Exception {
        Run run = start(Suites.Away.class, "botfarm.ttl=15s");
        until(() -> farm.held() > 0);
        door.shut();
        Thread.sleep(10_000);
        door.open();
        counts(run.end(), 5, 0);
        assertEquals(0, farm.held());
    }

    @Test
    void aWaitSaysWhoHoldsAndTakesNothingOfTheTimeout() throws Exception {
        String lease = farm.hold("the night shift");
        Run run = start(Suites.Waits.class);
        until(() -> farm.waiting() == 1);
        Thread.sleep(2500);
        farm.release(lease);
        Run.Result result = run.end();
        counts(result, 1, 0);
        String said = "(?s).*botfarm: waiting for role=admin, [45]m \\d+s more at most: [^\n]*\n"
                + "  ada@shop.example is held by the night shift since .*";
        assertTrue(result.output().matches(said), result.output());
    }

    @Test
    void inVainAWaitSaysWhoHolds() throws Exception {
        farm.hold("the night shift");
        Run.Result result = run(Suites.Waits.class, "botfarm.wait=1s");
        counts(result, 0, 1);
        String said = "(?s).*no account for role=admin within 1s: [^\n]*\n"
                + "\\s*ada@shop.example is held by the night shift since .*";
        assertTrue(result.output().matches(said), result.output());
    }

    @Test
    void whatNoAccountCouldBeIsRefusedAtOnce() throws Exception {
        Run.Result result = run(Suites.Impossible.class);
        counts(result, 0, 1);
        assertTrue(result.output().contains("emperor"), result.output());
        assertFalse(result.output().contains("waiting for"), result.output());
    }

    @Test
    void severalAccountsComeTogether() throws Exception {
        counts(run(Suites.Together.class), 6, 0);
        // One lease for each test, of three accounts, which the method before it shares.
        assertEquals(18, farm.history().size());
    }

    @Test
    void aConstructorIsNoPlaceForAnAccount() throws Exception {
        Run.Result result = run(Suites.Constructed.class);
        counts(result, 0, 1);
        assertTrue(result.output().contains("ask for it in a method, not in the constructor"), result.output());
        assertEquals(0, farm.history().size());
    }

    @Test
    void theReportSaysWhichAccountAndWhoHeldItAndNoSecret() throws Exception {
        Map<String, String> jenkins = new HashMap<>(Map.of(
                "JENKINS_URL", "https://jenkins.example.com/", "JOB_NAME", "shop", "BUILD_NUMBER", "12",
                "BUILD_URL", "https://jenkins.example.com/job/shop/12/"));
        jenkins.put("BOTFARM_URL", door.url());
        Run.Result result = Run.start(folder, Suites.Fails.class, jenkins).end();
        counts(result, 0, 1);
        var row = farm.history().get(0);
        assertEquals("Fails.fails fails(Account), Jenkins shop #12", row.path("holder").asText());
        assertEquals("Jenkins shop 12", row.path("run").asText());
        assertEquals("https://jenkins.example.com/job/shop/12/", row.path("url").asText());
        for (String said : List.of(result.output(), result.report())) {
            assertTrue(said.contains("ada@shop.example (stage)"), said);
            assertTrue(said.contains(row.path("holder").asText()), said);
            assertFalse(said.contains("s3cret"), said);
            assertFalse(said.contains("/leases/"), said);
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "botfarm.onFailure=bad | botfarm.onFailure must be clean, dirty or broken, not \"bad\"",
        "botfarm.wait=5 | \"5\" is no duration: write 90s, 5m or 1h 30m",
    })
    void aParameterThatCannotBeIsSaid(String parameter, String says) throws Exception {
        Run.Result result = run(Suites.Visits.class, parameter);
        assertNotEquals(0, result.code());
        assertTrue(result.output().contains(says), result.output());
    }

    @Test
    void aFarmThatIsNoServiceHurtsOnlyWhoAsksForIt() throws Exception {
        Map<String, String> variables = Map.of("BOTFARM_URL", "postgres://ann:s3cret@db/farm");
        Run.Result result = Run.start(folder, Suites.Fails.class, variables).end();
        String says = "BOTFARM_URL must be the http(s):// address of a service, not postgres:";
        assertTrue(result.output().contains(says), result.output());
        assertFalse(result.output().contains("s3cret"), result.output());
        counts(Run.start(folder, Suites.NeedsNone.class, variables).end(), 1, 0);
    }
}
