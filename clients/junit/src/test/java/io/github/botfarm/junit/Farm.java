package io.github.botfarm.junit;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/** The service whose client this is: the real one, of the variable BOTFARM or of the path. */
final class Farm {
    static final String BOTFARM = System.getenv().getOrDefault("BOTFARM", "botfarm");
    private static final String PROJECT = "5f0c7e0a-0000-4000-8000-000000000001";
    private static final String ROWS = """
            login,password,project_id,env,label.role
            ada@shop.example,s3cret-ada,%1$s,stage,admin
            ben@shop.example,s3cret-ben,%1$s,stage,member
            cleo@shop.example,s3cret-cleo,%1$s,stage,member
            """.formatted(PROJECT);

    private final Process process;
    final String url;
    final Transport transport;

    private Farm(Process process, String url) {
        this.process = process;
        this.url = url;
        transport = new Transport(url, null, null);
    }

    /** Writes a file of three accounts. */
    static Path bots(Path folder) throws IOException {
        return Files.writeString(folder.resolve("bots.csv"), ROWS);
    }

    static Farm start(Path folder) throws IOException {
        ProcessBuilder builder = new ProcessBuilder(
                BOTFARM, "serve", "--bots", bots(folder).toString(), "--listen", "127.0.0.1:0", "--until-eof");
        builder.environment().keySet().removeIf(name -> name.startsWith("BOTFARM_"));
        builder.environment().putAll(Map.of("BOTFARM_URL", "memory:", "BOTFARM_STORE", "memory:", "RUST_LOG", "error"));
        Process process = builder.redirectError(ProcessBuilder.Redirect.INHERIT).start();
        try (BufferedReader said = process.inputReader()) {
            return new Farm(process, said.readLine().substring("listening on ".length()));
        }
    }

    /** The one that a suite is run against, without what is in front of it. */
    static Farm direct() {
        return new Farm(null, System.getenv("DIRECT"));
    }

    int port() {
        return Integer.parseInt(url.substring(url.lastIndexOf(':') + 1));
    }

    void revoke(String id) throws InterruptedException {
        call("POST", "/users/" + id + "/revoke", Map.of("reason", "somebody needs it"));
    }

    /** Holds ada; gives the path of the lease. */
    String hold(String holder) throws InterruptedException {
        String id = UUID.randomUUID().toString();
        List<?> users = List.of(Map.of("labels", Map.of("role", "admin")));
        call("POST", "/leases", Map.of("id", id, "users", users, "holder", holder));
        return "/leases/" + id;
    }

    void release(String path) throws InterruptedException {
        call("DELETE", path, null);
    }

    List<String> conditions() throws InterruptedException {
        List<String> all = new ArrayList<>();
        call("GET", "/users", null).forEach(user -> all.add(user.path("condition").asText()));
        return all;
    }

    int held() throws InterruptedException {
        return call("GET", "/users?state=leased", null).size();
    }

    int waiting() throws InterruptedException {
        return call("GET", "/stats", null).path("waiting").asInt();
    }

    /** Every hand-out of every account. */
    List<JsonNode> history() throws InterruptedException {
        List<JsonNode> rows = new ArrayList<>();
        for (JsonNode user : call("GET", "/users", null)) {
            call("GET", "/users/" + user.path("id").asText() + "/history", null).forEach(rows::add);
        }
        return rows;
    }

    void close() throws Exception {
        process.getOutputStream().close();
        if (!process.waitFor(20, TimeUnit.SECONDS)) {
            process.destroyForcibly();
            throw new IllegalStateException("the service does not end");
        }
    }

    private JsonNode call(String method, String path, Object body) throws InterruptedException {
        return transport.call(method, path, body, Duration.ofSeconds(10), Duration.ZERO);
    }
}
