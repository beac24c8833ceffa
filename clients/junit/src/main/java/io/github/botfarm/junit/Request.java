package io.github.botfarm.junit;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.function.Consumer;

/** Stands in the queue for accounts, and says why. */
record Request(List<Selector> wanted, Duration patience, Duration ttl, String holder, Consumer<String> report) {
    private static final Duration FIRST_TURN = Duration.ofSeconds(1);
    private static final Duration TURN = Duration.ofSeconds(10);
    private static final Duration ANSWER = Duration.ofSeconds(15);
    private static final int NAMED = 5;
    private static final int LOOKED_AT = 500;

    /**
     * Asks in turns under one lease id, which keeps the place in the queue. Fails when nothing became free in time. After
     * any other failure nothing is held.
     */
    Lease acquire(Transport transport) throws InterruptedException {
        String id = UUID.randomUUID().toString();
        Map<String, Object> body = body(id);
        long until = System.nanoTime() + patience.toNanos();
        long told = System.nanoTime() - TURN.toNanos();
        Duration length = FIRST_TURN;
        while (true) {
            long asked = System.nanoTime();
            Duration left = Duration.ofNanos(Math.max(0, until - asked));
            Duration turn = length.compareTo(left) < 0 ? length : left;
            body.put("wait_seconds", turn.toMillis() / 1000.0);
            try {
                JsonNode granted = transport.call("POST", "/leases", body, turn.plus(ANSWER), Transport.PATIENCE);
                return new Lease(transport, id, granted, asked);
            } catch (BotfarmException shortage) {
                if (!shortage.isShortage()) {
                    leave(transport, id);
                    throw shortage;
                }
                long now = System.nanoTime();
                if (now - until >= 0) {
                    throw shortage.withDetail("no account for " + missing(shortage) + " within "
                            + Durations.lasting(patience) + ": " + shortage.detail() + holders(transport, shortage));
                }
                if (now - told >= TURN.minusSeconds(1).toNanos()) {
                    told = now;
                    report.accept("botfarm: waiting for " + missing(shortage) + ", "
                            + Durations.lasting(Duration.ofNanos(until - now)) + " more at most: " + shortage.detail()
                            + holders(transport, shortage));
                }
                // A service that lets nobody wait answers at once.
                Thread.sleep(Math.max(0, turn.minusNanos(System.nanoTime() - asked).toMillis()));
            } catch (InterruptedException interrupted) {
                Thread.interrupted();
                leave(transport, id);
                throw interrupted;
            }
            length = TURN;
        }
    }

    private Map<String, Object> body(String id) {
        Map<String, Object> body = new LinkedHashMap<>();
        body.put("id", id);
        body.put("users", wanted.stream().map(Selector::onTheWire).toList());
        body.put("holder", holder);
        body.put("ttl_seconds", ttl.toMillis() / 1000.0);
        String run = Job.run(System.getenv());
        if (run != null) {
            body.put("run", run);
        }
        String url = Job.found(System.getenv()).url();
        if (url != null) {
            body.put("url", url);
        }
        return body;
    }

    /** A grant that is on its way is given back. */
    private static void leave(Transport transport, String id) throws InterruptedException {
        try {
            transport.call("DELETE", "/leases/" + id, null, Duration.ofSeconds(1), Duration.ZERO);
        } catch (BotfarmException nothing) {
            // There was none, or it ends by itself.
        }
    }

    private Selector missing(BotfarmException shortage) {
        return wanted.get(Math.min(shortage.selector(), wanted.size() - 1));
    }

    private record Held(JsonNode lease, JsonNode user) {}

    /** Who holds what is wanted, the longest first. Whoever may not list leases waits all the same. */
    private String holders(Transport transport, BotfarmException shortage) throws InterruptedException {
        JsonNode leases;
        try {
            leases = transport.call("GET", "/leases?limit=" + LOOKED_AT, null, Duration.ofSeconds(2), Duration.ZERO);
        } catch (BotfarmException error) {
            return "";
        }
        List<Held> held = new ArrayList<>();
        for (JsonNode lease : leases) {
            for (JsonNode user : lease.path("users")) {
                if (missing(shortage).fits(user)) {
                    held.add(new Held(lease, user));
                }
            }
        }
        held.sort(Comparator.comparing(each -> each.lease().path("acquired_at").asText()));
        StringBuilder text = new StringBuilder();
        for (Held each : held.subList(0, Math.min(NAMED, held.size()))) {
            String url = each.lease().path("url").asText("");
            text.append("\n  ").append(each.user().path("login").asText())
                    .append(" is held by ").append(each.lease().path("holder").asText())
                    .append(" since ").append(each.lease().path("acquired_at").asText())
                    .append(url.isEmpty() || url.equals("null") ? "" : ", " + url);
        }
        return held.size() > NAMED ? text.append("\n  and ").append(held.size() - NAMED).append(" more").toString() : text.toString();
    }
}
