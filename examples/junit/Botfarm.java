import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ExtensionContext.Store.CloseableResource;
import org.junit.jupiter.api.extension.ParameterContext;
import org.junit.jupiter.api.extension.ParameterResolver;

/**
 * Leases a test account for each test that asks for one. Copy this file into your suite:
 *
 * <pre>
 * {@literal @}ExtendWith(Botfarm.class)
 * class CheckoutTest {
 *     {@literal @}Test
 *     void refunds({@literal @}Botfarm.Wanted(env = "stage", labels = "role=admin") Botfarm.Account account) { … }
 * }
 * </pre>
 *
 * BOTFARM_URL says where the service is, BOTFARM_TOKEN who asks. Needs Jackson.
 */
public final class Botfarm implements ParameterResolver {
    /** Which account a test wants; without it, any. */
    @Retention(RetentionPolicy.RUNTIME)
    public @interface Wanted {
        String env() default "";

        String[] labels() default {};
    }

    private static final String FARM =
            Optional.ofNullable(System.getenv("BOTFARM_URL")).orElse("http://127.0.0.1:8000") + "/api/v1";
    private static final int WAIT_SECONDS = 280;
    private static final int TRIES = 5;
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final HttpClient HTTP = HttpClient.newHttpClient();
    private static final ScheduledExecutorService RENEWER = Executors.newSingleThreadScheduledExecutor(task -> {
        Thread thread = new Thread(task, "botfarm");
        thread.setDaemon(true);
        return thread;
    });

    @Override
    public boolean supportsParameter(ParameterContext parameter, ExtensionContext test) {
        return parameter.getParameter().getType() == Account.class;
    }

    @Override
    public Account resolveParameter(ParameterContext parameter, ExtensionContext test) {
        // JUnit closes what is in its store when the test is over, and fails the test when that fails.
        return test.getStore(ExtensionContext.Namespace.create(Botfarm.class)).getOrComputeIfAbsent(
                parameter.getIndex(),
                index -> new Account(parameter.findAnnotation(Wanted.class), test.getUniqueId()),
                Account.class);
    }

    /** A leased account. Its lease is renewed in the background. */
    public static final class Account implements CloseableResource {
        public final String login;
        public final String password;
        /** Set it to dirty when the test leaves it changed: then nobody gets it before it was cleaned. */
        public String outcome = "clean";

        private final String path;
        private final ScheduledFuture<?> beat;

        private Account(Optional<Wanted> wanted, String holder) {
            // The id is ours, so that asking again never takes a second account.
            String id = UUID.randomUUID().toString();
            path = "/leases/" + id;
            Map<String, Object> selector = wanted.map(Account::selector).orElse(Map.of());
            String shown = holder.length() > 200 ? holder.substring(holder.length() - 200) : holder;
            JsonNode lease = call("POST", "/leases", Map.of(
                    "id", id, "users", List.of(selector), "holder", shown,
                    "ttl_seconds", 60, "wait_seconds", WAIT_SECONDS));
            login = lease.at("/users/0/login").asText();
            password = lease.at("/users/0/password").asText();
            long seconds = lease.get("renew_after_seconds").asLong();
            beat = RENEWER.scheduleWithFixedDelay(this::renew, seconds, seconds, TimeUnit.SECONDS);
        }

        private static Map<String, Object> selector(Wanted wanted) {
            Map<String, String> labels = Stream.of(wanted.labels()).map(label -> label.split("=", 2))
                    .collect(Collectors.toMap(label -> label[0], label -> label[1]));
            return wanted.env().isEmpty() ? Map.of("labels", labels) : Map.of("env", wanted.env(), "labels", labels);
        }

        private void renew() {
            try {
                call("POST", path + "/renew", Map.of());
            } catch (IllegalStateException ignored) {
                // Whether the lease has lasted is what the release says.
            }
        }

        /** Gives it back. Fails when it was not ours to the end: what the test has seen proves nothing then. */
        @Override
        public void close() {
            beat.cancel(false);
            call("DELETE", path + "?outcome=" + outcome, null);
        }
    }

    private static JsonNode call(String method, String path, Object body) {
        try {
            var content = body == null ? BodyPublishers.noBody() : BodyPublishers.ofByteArray(JSON.writeValueAsBytes(body));
            var request = HttpRequest.newBuilder(URI.create(FARM + path)).method(method, content)
                    .header("Content-Type", "application/json").timeout(Duration.ofSeconds(WAIT_SECONDS + 10));
            Optional.ofNullable(System.getenv("BOTFARM_TOKEN"))
                    .ifPresent(token -> request.header("Authorization", "Bearer " + token));
            for (int left = TRIES; ; left--) {
                String problem;
                try {
                    HttpResponse<String> answer = HTTP.send(request.build(), BodyHandlers.ofString());
                    if (answer.statusCode() < 300) {
                        return JSON.readTree(answer.body());
                    }
                    problem = answer.body();
                    left = answer.statusCode() == 503 ? left : 1;
                } catch (IOException error) {
                    problem = FARM + " cannot be reached: " + error;
                }
                if (left <= 1) {
                    throw new IllegalStateException("botfarm: " + problem);
                }
                Thread.sleep(1000);
            }
        } catch (IOException | InterruptedException error) {
            throw new IllegalStateException("botfarm: " + error, error);
        }
    }
}
