package io.github.botfarm.junit;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ThreadLocalRandom;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLHandshakeException;
import javax.net.ssl.TrustManagerFactory;

/** The one place where requests leave and answers arrive. May be used by several threads at once. */
final class Transport {
    /** How long a service may be away: as long as it keeps a place in the queue. */
    static final Duration PATIENCE = Duration.ofSeconds(30);

    private static final Duration FIRST_PAUSE = Duration.ofMillis(200);
    private static final Duration LONGEST_PAUSE = Duration.ofSeconds(2);
    private static final Set<Integer> PASSING = Set.of(408, 502, 503, 504);
    /** What services are told. */
    private static final String VERSION = "0.1.0";

    /** What services had to say about versions, and was shown. */
    private static final Set<String> SHOWN = ConcurrentHashMap.newKeySet();

    private static final ObjectMapper JSON = new ObjectMapper();

    private final String url;
    private final String token;
    private final HttpClient http;
    private volatile boolean givenUp;

    Transport(String url, String token, String caFile) {
        URI parsed = parsed(url);
        String scheme = parsed == null ? null : parsed.getScheme();
        if (parsed == null || parsed.getHost() == null || !Set.of("http", "https").contains(String.valueOf(scheme))) {
            String shown = scheme == null ? "what it is" : scheme + ":…";
            throw new BotfarmException("invalid", "BOTFARM_URL must be the http(s):// address of a service, not " + shown);
        }
        if (parsed.getUserInfo() != null) {
            throw new BotfarmException(
                    "invalid", "BOTFARM_URL must not have a password in it; BOTFARM_TOKEN says who asks");
        }
        this.url = url.replaceAll("/+$", "");
        this.token = token;
        // A redirect would take the token along to wherever it leads.
        HttpClient.Builder builder = HttpClient.newBuilder()
                .version(HttpClient.Version.HTTP_1_1)
                .followRedirects(HttpClient.Redirect.NEVER)
                .connectTimeout(Duration.ofSeconds(10));
        if (caFile != null) {
            builder.sslContext(trusting(caFile));
        }
        this.http = builder.build();
    }

    /** By BOTFARM_URL, BOTFARM_TOKEN (each also with _FILE) and BOTFARM_CA_FILE. */
    static Transport fromEnvironment() {
        String url = variable("BOTFARM_URL");
        return new Transport(url == null ? "http://127.0.0.1:8000" : url, variable("BOTFARM_TOKEN"), set("BOTFARM_CA_FILE"));
    }

    static boolean isNamed() {
        return set("BOTFARM_URL") != null || set("BOTFARM_URL_FILE") != null;
    }

    /** An environment variable that is not empty, or null. */
    static String set(String name) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? null : value;
    }

    /**
     * What the service answers.
     *
     * <p>A call that gets no answer is made again for {@code patience}. Every call may be: it looks, or names its lease.
     * After a service was out of reach for that long, one try is enough, lest every test of a suite waits anew.
     */
    JsonNode call(String method, String path, Object body, Duration timeout, Duration patience)
            throws InterruptedException {
        Long failingSince = null;
        Duration pause = FIRST_PAUSE;
        while (true) {
            long begun = System.nanoTime();
            try {
                JsonNode answer = exchange(method, path, body, timeout);
                givenUp = false;
                return answer;
            } catch (BotfarmException error) {
                if (!error.isPassing()) {
                    throw error;
                }
                failingSince = failingSince == null ? begun : failingSince;
                Duration failing = Duration.ofNanos(System.nanoTime() - failingSince).plus(pause);
                if (givenUp || failing.compareTo(patience) > 0) {
                    givenUp |= patience.compareTo(PATIENCE) >= 0;
                    throw error;
                }
            }
            Thread.sleep((long) (pause.toMillis() * ThreadLocalRandom.current().nextDouble(1, 1.5)));
            pause = pause.multipliedBy(2).compareTo(LONGEST_PAUSE) < 0 ? pause.multipliedBy(2) : LONGEST_PAUSE;
        }
    }

    private JsonNode exchange(String method, String path, Object body, Duration timeout) throws InterruptedException {
        HttpResponse<String> answer;
        try {
            var content = body == null ? BodyPublishers.noBody() : BodyPublishers.ofByteArray(JSON.writeValueAsBytes(body));
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url + "/api/v1" + path))
                    .method(method, content)
                    .header("Content-Type", "application/json")
                    .header("User-Agent", "botfarm-junit/" + VERSION)
                    .timeout(timeout);
            if (token != null) {
                request.header("Authorization", "Bearer " + token);
            }
            answer = http.send(request.build(), BodyHandlers.ofString());
        } catch (SSLHandshakeException error) {
            throw new BotfarmException("", "the certificate of " + url + " is not trusted (" + error.getMessage()
                    + "); if it is the right service, name a file with its authority in BOTFARM_CA_FILE");
        } catch (IOException error) {
            String hint = isNamed() ? "" : "; BOTFARM_URL says where it is";
            String why = error.getMessage() == null ? error.getClass().getSimpleName() : error.getMessage();
            throw new BotfarmException("unavailable", "the service at " + url + " cannot be reached: " + why + hint);
        }
        answer.headers().firstValue("Botfarm-Notice").ifPresent(Transport::showOnce);
        if (answer.statusCode() / 100 == 2) {
            return read(answer.body());
        }
        JsonNode problem = problem(answer.body());
        if (problem.has("code")) {
            throw BotfarmException.of(problem);
        }
        String detail = "the service at " + url + " answered " + answer.statusCode();
        throw PASSING.contains(answer.statusCode())
                ? new BotfarmException("unavailable", detail)
                : new BotfarmException("", detail + "; is this the URL of a botfarm service?");
    }

    /** Shows what a service has to say about versions. */
    private static void showOnce(String notice) {
        String text = notice.replaceAll("[^ -~]", "?");
        if (SHOWN.add(text)) {
            System.err.println("botfarm: " + text);
        }
    }

    private JsonNode read(String text) {
        try {
            return JSON.readTree(text);
        } catch (JsonProcessingException error) {
            // Not the error itself, which repeats what it found.
            throw new BotfarmException("", url + " answered what is no JSON; is it a botfarm service?");
        }
    }

    private static JsonNode problem(String text) {
        try {
            return JSON.readTree(text);
        } catch (JsonProcessingException error) {
            return JSON.createObjectNode();
        }
    }

    private static URI parsed(String url) {
        try {
            return URI.create(url);
        } catch (IllegalArgumentException error) {
            return null;
        }
    }

    /** An environment variable, or the content of the file that the one with {@code _FILE} names. */
    private static String variable(String name) {
        String value = set(name);
        String file = set(name + "_FILE");
        if (value != null && file != null) {
            throw new BotfarmException("invalid", name + " and " + name + "_FILE are both set; set one of them");
        }
        if (file == null) {
            return value;
        }
        try {
            return Files.readString(Path.of(file)).strip();
        } catch (IOException error) {
            throw new BotfarmException("invalid", name + "_FILE: " + error);
        }
    }

    /** Trusts the authorities of the file, and those that Java trusts. */
    private static SSLContext trusting(String caFile) {
        try (InputStream file = new FileInputStream(caFile)) {
            KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
            store.load(null, null);
            int number = 0;
            for (Certificate each : CertificateFactory.getInstance("X.509").generateCertificates(file)) {
                store.setCertificateEntry("botfarm-" + number++, each);
            }
            for (Certificate each : Authorities.known()) {
                store.setCertificateEntry("known-" + number++, each);
            }
            TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            trust.init(store);
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(null, trust.getTrustManagers(), null);
            return context;
        } catch (IOException | GeneralSecurityException error) {
            throw new BotfarmException("invalid", "BOTFARM_CA_FILE: " + caFile + ": " + error.getMessage());
        }
    }
}
