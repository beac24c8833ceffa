package io.github.botfarm.junit;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.MissingNode;

/** The service refused, or could not be reached. */
public final class BotfarmException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final String code;
    private final transient JsonNode problem;

    BotfarmException(String code, String detail) {
        this(code, detail, MissingNode.getInstance());
    }

    private BotfarmException(String code, String detail, JsonNode problem) {
        super("botfarm: " + detail);
        this.code = code;
        this.problem = problem;
    }

    /** What a service's {@code application/problem+json} tells of. */
    static BotfarmException of(JsonNode problem) {
        StringBuilder detail = new StringBuilder(problem.path("detail").asText(problem.path("title").asText()));
        for (JsonNode fault : problem.path("errors")) {
            String more = fault.path("pointer").asText() + " " + fault.path("detail").asText();
            if (detail.indexOf(more) < 0) {
                detail.append("; ").append(more);
            }
        }
        return new BotfarmException(problem.path("code").asText(), detail.toString(), problem);
    }

    BotfarmException withDetail(String detail) {
        return new BotfarmException(code, detail, problem);
    }

    /** The stable code of the service's documentation, such as {@code exhausted}, {@code no-match}, {@code lease-lost}. */
    public String code() {
        return code;
    }

    String detail() {
        return getMessage().substring("botfarm: ".length());
    }

    /** Which selector could not be satisfied. */
    int selector() {
        return problem == null ? 0 : problem.path("selector").asInt();
    }

    boolean isLoss() {
        return code.equals("lease-lost") || code.equals("no-such-lease");
    }

    boolean isShortage() {
        return code.equals("exhausted") || code.equals("busy");
    }

    boolean isPassing() {
        return code.equals("unavailable") || code.equals("too-many-requests");
    }
}
