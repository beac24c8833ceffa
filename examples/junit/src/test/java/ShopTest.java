import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.botfarm.junit.Account;
import io.github.botfarm.junit.Leased;
import java.io.IOException;
import java.net.CookieManager;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.Test;

/** Runs with more threads than there are accounts. */
class ShopTest {
    private static final String SITE = Optional.ofNullable(System.getenv("SITE_URL")).orElse("http://127.0.0.1:8080");

    @RepeatedTest(24)
    void aSessionIsOursAlone(@Leased Account account) throws Exception {
        visit(account);
    }

    @Test
    void anAccountOfAKind(@Leased(env = "stage", labels = "role=admin") Account account) throws Exception {
        assertEquals("ada@shop.example", account.login());
        visit(account);
    }

    private static void visit(Account account) throws IOException, InterruptedException {
        HttpClient browser = HttpClient.newBuilder().cookieHandler(new CookieManager()).build();
        String page = post(browser, "/login", "login=" + encode(account.login()) + "&password=" + encode(account.password()));
        assertTrue(page.contains("signed in as " + account.login()), page);
        for (int times = 0; times < 10; times++) {
            assertEquals("{\"login\": \"" + account.login() + "\"}", send(browser, request("/me")));
        }
        post(browser, "/logout", "");
    }

    private static String post(HttpClient browser, String path, String form) throws IOException, InterruptedException {
        return send(browser, request(path).POST(HttpRequest.BodyPublishers.ofString(form)));
    }

    private static HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(URI.create(SITE + path));
    }

    private static String send(HttpClient browser, HttpRequest.Builder request) throws IOException, InterruptedException {
        return browser.send(request.build(), HttpResponse.BodyHandlers.ofString()).body();
    }

    private static String encode(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8);
    }
}
