package io.github.botfarm.junit;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.LinkedHashMap;
import java.util.Map;

/** An account that is leased. Its lease is renewed in the background. */
public final class Account {
    private final Lease lease;
    private final String id;
    private final String login;
    private final String password;
    private final String project;
    private final String env;
    private final String domain;
    private final Map<String, String> labels;
    private final long fence;

    Account(Lease lease, JsonNode user) {
        this.lease = lease;
        id = user.path("id").asText();
        login = user.path("login").asText();
        password = user.path("password").asText();
        project = user.path("project_id").asText();
        env = user.path("env").asText();
        domain = user.path("domain").asText();
        Map<String, String> read = new LinkedHashMap<>();
        user.path("labels").fields().forEachRemaining(label -> read.put(label.getKey(), label.getValue().asText()));
        labels = Map.copyOf(read);
        fence = user.path("fence").asLong();
    }

    public String id() {
        return id;
    }

    public String login() {
        return login;
    }

    public String password() {
        return password;
    }

    public String project() {
        return project;
    }

    public String env() {
        return env;
    }

    public String domain() {
        return domain;
    }

    public Map<String, String> labels() {
        return labels;
    }

    /** Larger at every hand-out of this account. */
    public long fence() {
        return fence;
    }

    /**
     * Says how the account is given back. Unless it is said, a test that fails leaves it as {@code botfarm.onFailure}
     * says, others clean. It goes for all accounts of the method.
     */
    public void leave(Outcome outcome) {
        lease.leave(outcome);
    }

    /** The login and the env; no secret. */
    @Override
    public String toString() {
        return login + " (" + env + ")";
    }
}
