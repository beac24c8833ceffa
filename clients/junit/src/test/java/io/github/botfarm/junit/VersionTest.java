package io.github.botfarm.junit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.junit.jupiter.api.Test;

/** What client and service tell each other of their versions. */
class VersionTest {
    @Test
    void whatTheServiceSaysOfVersionsIsShownOnce() throws Exception {
        Set<String> agents = ConcurrentHashMap.newKeySet();
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        server.createContext("/", exchange -> {
            agents.add(exchange.getRequestHeaders().getFirst("User-Agent"));
            exchange.getResponseHeaders().add("Botfarm-Notice", "the service is old: update it");
            byte[] body = "[]".getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
        PrintStream before = System.err;
        ByteArrayOutputStream shown = new ByteArrayOutputStream();
        System.setErr(new PrintStream(shown, true, StandardCharsets.UTF_8));
        try {
            for (int client = 0; client < 2; client++) {
                Transport transport = new Transport("http://127.0.0.1:" + server.getAddress().getPort(), null, null);
                transport.call("GET", "/users", null, Duration.ofSeconds(10), Duration.ZERO);
                transport.call("GET", "/users", null, Duration.ofSeconds(10), Duration.ZERO);
            }
        } finally {
            System.setErr(before);
            server.stop(0);
        }
        assertEquals("botfarm: the service is old: update it", shown.toString(StandardCharsets.UTF_8).strip());
        assertEquals(1, agents.size());
        assertTrue(agents.iterator().next().matches("botfarm-junit/\\d+\\.\\d+\\.\\d+"), agents.toString());
    }
}
