package io.github.botfarm.junit;

import java.time.Duration;
import java.util.Locale;
import java.util.Optional;
import org.junit.jupiter.api.extension.ExtensionContext;

/** How accounts are leased: by configuration parameters of JUnit, and by variables, which beat them. */
record Settings(Duration patience, Duration ttl, Outcome onFailure, Optional<String> bots) {
    static Settings of(ExtensionContext context) {
        return new Settings(
                Durations.parse(value(context, "BOTFARM_WAIT", "botfarm.wait").orElse("5m")),
                Durations.parse(value(context, "BOTFARM_TTL", "botfarm.ttl").orElse("60s")),
                outcome(context.getConfigurationParameter("botfarm.onFailure").orElse("clean")),
                value(context, "BOTFARM_BOTS", "botfarm.bots"));
    }

    private static Optional<String> value(ExtensionContext context, String variable, String parameter) {
        return Optional.ofNullable(Transport.set(variable)).or(() -> context.getConfigurationParameter(parameter));
    }

    private static Outcome outcome(String name) {
        try {
            return Outcome.valueOf(name.toUpperCase(Locale.ROOT));
        } catch (IllegalArgumentException error) {
            throw new BotfarmException(
                    "invalid", "botfarm.onFailure must be clean, dirty or broken, not \"" + name + "\"");
        }
    }
}
