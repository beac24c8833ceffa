package io.github.botfarm.junit;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;

/** One or more accounts that are nobody else's until they are given back. It is renewed by a thread of its own. */
final class Lease {
    private static final Duration RELEASE_PATIENCE = Duration.ofSeconds(15);
    private static final Duration RENEW_TIMEOUT = Duration.ofSeconds(5);
    private static final Duration ANSWER = Duration.ofSeconds(10);
    private static final long PAUSE_AFTER_TROUBLE = 1000;

    private final Transport transport;
    /** Not shown to anybody: who has the id may renew and release. */
    private final String path;
    private final String holder;
    private final List<Account> accounts = new ArrayList<>();
    private final AtomicBoolean released = new AtomicBoolean();
    private final CountDownLatch over = new CountDownLatch(1);
    private volatile long until;
    private volatile long pause;
    private volatile BotfarmException lost;
    private volatile BotfarmException trouble;
    private volatile Outcome outcome;

    Lease(Transport transport, String id, JsonNode granted, long asked) {
        this.transport = transport;
        path = "/leases/" + id;
        holder = granted.path("holder").asText();
        granted.path("users").forEach(user -> accounts.add(new Account(this, user)));
        take(granted, asked);
        Thread renewer = new Thread(this::keep, "botfarm");
        renewer.setDaemon(true);
        renewer.start();
    }

    List<Account> accounts() {
        return accounts;
    }

    String holder() {
        return holder;
    }

    void leave(Outcome outcome) {
        this.outcome = outcome;
    }

    /** Unless the test has said otherwise. */
    void leaveAfterFailure(Outcome left) {
        outcome = outcome == null ? left : outcome;
    }

    /** Renews it now. Fails when it was lost; a service that is away does not hurt until the lease's time is up. */
    void check() throws InterruptedException {
        if (!released.get()) {
            renew();
        }
        if (lost == null && System.nanoTime() - until >= 0) {
            lost = unrenewed();
        }
        if (lost != null) {
            throw lost;
        }
    }

    /** Gives the accounts back; again does nothing. Fails when they were not ours to the end. */
    void release() throws InterruptedException {
        if (released.getAndSet(true)) {
            return;
        }
        boolean ours = System.nanoTime() - until < 0;
        over.countDown();
        try {
            String left = (outcome == null ? Outcome.CLEAN : outcome).onTheWire();
            transport.call("DELETE", path + "?outcome=" + left, null, ANSWER, RELEASE_PATIENCE);
        } catch (BotfarmException error) {
            if (error.isLoss()) {
                lost = lost == null ? error : lost;
            } else if (!error.isPassing()) {
                throw error;
            } else if (ours) {
                System.err.println(error.getMessage() + "; " + this + " ends by itself");
            } else {
                lost = lost == null ? unrenewed() : lost;
            }
        }
        if (lost != null) {
            throw lost;
        }
    }

    @Override
    public String toString() {
        return "the lease of " + accounts.stream().map(Account::toString).collect(Collectors.joining(", "))
                + " held by " + holder;
    }

    /** Reads how long it lives. The answer is at most as old as the question. */
    private void take(JsonNode granted, long asked) {
        long now = System.nanoTime();
        // After a long wait in the queue that says little; then a renewal at once gives a close bound.
        boolean waited = now - asked > granted.path("ttl_seconds").asDouble() * 1e8;
        until = (waited ? now : asked) + (long) (granted.path("expires_in_seconds").asDouble() * 1e9);
        pause = waited ? 0 : (long) (granted.path("renew_after_seconds").asDouble() * 1000);
    }

    private void keep() {
        try {
            while (!over.await(trouble == null ? pause : PAUSE_AFTER_TROUBLE, TimeUnit.MILLISECONDS)) {
                renew();
                if (lost != null) {
                    return;
                }
            }
        } catch (InterruptedException ended) {
            Thread.currentThread().interrupt();
        }
    }

    private void renew() throws InterruptedException {
        long asked = System.nanoTime();
        try {
            JsonNode granted = transport.call("POST", path + "/renew", Map.of(), RENEW_TIMEOUT, Duration.ZERO);
            take(granted, asked);
            trouble = null;
        } catch (BotfarmException error) {
            if (!error.isLoss()) {
                trouble = error;
            } else if (!released.get()) {
                // A release meanwhile is no loss.
                lost = error;
            }
        }
    }

    private BotfarmException unrenewed() {
        String why = trouble == null ? "this process stood still" : trouble.detail();
        return new BotfarmException("lease-lost", this + " ended, because it could not be renewed: " + why);
    }
}
