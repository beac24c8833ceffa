package io.github.botfarm.junit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A service for one run. */
class ServiceTest {
    @TempDir
    Path folder;

    @Test
    void itServesAFileToTheRunAndEndsWithIt() throws Exception {
        // What lies about in the folder has no say.
        Files.writeString(folder.resolve("botfarm.toml"), "listen = \"0.0.0.0:8000\"\nauth = \"required\"\n");
        String bots = "botfarm.bots=" + Farm.bots(folder);
        Run run = Run.start(folder, Suites.Visits.class, Map.of(), bots);
        List<ProcessHandle> services = List.of();
        while (services.isEmpty() && run.process().isAlive()) {
            services = run.process().children().toList();
        }
        Run.Result result = run.end();
        assertTrue(result.output().contains("24 tests successful"), result.output());
        assertEquals(1, services.size());
        services.get(0).onExit().get(20, TimeUnit.SECONDS);
    }

    @Test
    void itEndsWithARunThatIsKilled() throws Exception {
        Run run = Run.start(folder, Suites.Away.class, Map.of("BOTFARM_BOTS", Farm.bots(folder).toString()));
        List<ProcessHandle> services = List.of();
        while (services.isEmpty() && run.process().isAlive()) {
            services = run.process().children().toList();
        }
        assertEquals(1, services.size());
        run.process().destroyForcibly();
        services.get(0).onExit().get(20, TimeUnit.SECONDS);
    }

    @Test
    void itSaysWhatIsWrong() throws Exception {
        Run.Result result = Run.start(folder, Suites.Fails.class, Map.of("BOTFARM_BOTS", "none.csv")).end();
        assertTrue(result.output().contains("none.csv cannot be read"), result.output());
        Map<String, String> nowhere = Map.of("BOTFARM_BOTS", "none.csv", "PATH", "/nowhere");
        result = Run.start(folder, Suites.Fails.class, nowhere).end();
        assertTrue(result.output().contains("`botfarm serve` cannot be started"), result.output());
    }
}
