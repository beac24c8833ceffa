package io.github.botfarm.junit;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.extension.ExtensionContext.Store.CloseableResource;

/**
 * {@code botfarm serve} on a free port of this machine, with the accounts of a file in memory. It ends with this process,
 * however that ends. Nobody else knows of it.
 */
final class Service implements CloseableResource {
    private static final long START_SECONDS = 30;
    private static final long STOP_SECONDS = 5;
    private static final String HINT = "install it, or set BOTFARM_URL to a service that is running";

    private final Process process;
    private final Path log;
    private final String url;

    Service(String bots) {
        if (!System.getProperty("surefire.forkNumber", "1").equals("1")) {
            throw new BotfarmException("", "each fork would give out the accounts of " + bots + " once more; set BOTFARM_URL"
                    + " to a service that they share");
        }
        try {
            log = Files.createTempFile("botfarm", ".log");
            ProcessBuilder builder = new ProcessBuilder(
                    "botfarm", "serve", "--bots", bots, "--listen", "127.0.0.1:0", "--auth", "none", "--until-eof");
            builder.environment().keySet().removeIf(name -> name.startsWith("BOTFARM_"));
            builder.environment().putIfAbsent("RUST_LOG", "warn");
            // Beats a botfarm.toml.
            builder.environment().put("BOTFARM_URL", "memory:");
            builder.environment().put("BOTFARM_STORE", "memory:");
            process = builder.redirectError(log.toFile()).start();
        } catch (IOException error) {
            throw new BotfarmException("", "`botfarm serve` cannot be started: " + error.getMessage() + "; " + HINT);
        }
        url = announced();
    }

    String url() {
        return url;
    }

    @Override
    public void close() {
        try {
            process.getOutputStream().close();
            if (!process.waitFor(STOP_SECONDS, TimeUnit.SECONDS)) {
                process.destroyForcibly();
            }
            Files.deleteIfExists(log);
        } catch (IOException ended) {
            process.destroyForcibly();
        } catch (InterruptedException interrupted) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
        }
    }

    private String announced() {
        Thread timer = new Thread(() -> {
            try {
                TimeUnit.SECONDS.sleep(START_SECONDS);
                process.destroyForcibly();
            } catch (InterruptedException started) {
                Thread.currentThread().interrupt();
            }
        });
        timer.setDaemon(true);
        timer.start();
        try (BufferedReader said = process.inputReader()) {
            String line = said.readLine();
            if (line != null && line.startsWith("listening on http://")) {
                return line.substring("listening on ".length());
            }
            process.waitFor();
            String why = Files.readString(log).strip();
            throw new BotfarmException("", "`botfarm serve` did not start: " + (why.isEmpty() ? "it said nothing" : why));
        } catch (IOException | InterruptedException error) {
            process.destroyForcibly();
            throw new BotfarmException("", "`botfarm serve` did not start: " + error);
        } finally {
            timer.interrupt();
        }
    }
}
