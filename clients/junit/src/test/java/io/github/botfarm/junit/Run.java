package io.github.botfarm.junit;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** A suite that is run by a JUnit of its own. */
final class Run {
    private static final long LIMIT_SECONDS = 120;

    private final Process process;
    private final Path folder;

    private Run(Process process, Path folder) {
        this.process = process;
        this.folder = folder;
    }

    /** What came of it: the exit code, all that was printed, and the reports. */
    record Result(int code, String output, String report) {}

    /** Starts it, with these variables and parameters, and nothing of the machine's own. */
    static Run start(Path folder, Class<?> suite, Map<String, String> variables, String... parameters) throws IOException {
        List<String> command = new ArrayList<>(List.of(
                ProcessHandle.current().info().command().orElse("java"), "-cp", System.getProperty("java.class.path"),
                "org.junit.platform.console.ConsoleLauncher", "--select-class=" + suite.getName(), "--disable-banner",
                "--details=tree", "--reports-dir=" + folder.resolve("reports")));
        Map<String, String> all = new HashMap<>(Map.of(
                "junit.jupiter.execution.parallel.enabled", "true",
                "junit.jupiter.execution.parallel.mode.default", "concurrent",
                "junit.jupiter.execution.parallel.config.strategy", "fixed",
                "junit.jupiter.execution.parallel.config.fixed.parallelism", "6"));
        for (String parameter : parameters) {
            all.put(parameter.split("=")[0], parameter.split("=")[1]);
        }
        all.forEach((key, value) -> command.add("--config=" + key + "=" + value));
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true).directory(folder.toFile());
        builder.environment().keySet().removeIf(name -> name.matches("(BOTFARM|GITHUB|GITLAB|CI|BUILDKITE|JENKINS).*"));
        Path botfarm = Path.of(Farm.BOTFARM);
        if (botfarm.isAbsolute()) {
            builder.environment().merge("PATH", botfarm.getParent().toString(), (path, first) -> first + ":" + path);
        }
        Files.createDirectories(folder.resolve("shared"));
        builder.environment().put("SHARED", folder.resolve("shared").toString());
        builder.environment().put("USER", "ann");
        builder.environment().putAll(variables);
        return new Run(builder.redirectOutput(folder.resolve("output").toFile()).start(), folder);
    }

    Process process() {
        return process;
    }

    /** Waits for its end. */
    Result end() throws IOException, InterruptedException {
        if (!process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)) {
            process.destroyForcibly();
        }
        StringBuilder report = new StringBuilder();
        if (Files.exists(folder.resolve("reports"))) {
            try (Stream<Path> files = Files.list(folder.resolve("reports"))) {
                for (Path file : files.toList()) {
                    report.append(Files.readString(file));
                }
            }
        }
        return new Result(process.waitFor(), Files.readString(folder.resolve("output")), report.toString());
    }
}
