package io.github.botfarm.junit;

import java.time.Duration;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Durations as the {@code botfarm} command reads them: {@code 90s}, {@code 5m}, {@code 1h 30m}. */
final class Durations {
    private static final Map<String, Long> MILLIS =
            Map.of("ms", 1L, "s", 1000L, "sec", 1000L, "m", 60_000L, "min", 60_000L, "h", 3_600_000L);
    private static final Pattern PART = Pattern.compile("(\\d{1,9})\\s*([a-z]+)\\s*");

    private Durations() {}

    static Duration parse(String text) {
        Matcher part = PART.matcher(text.strip());
        long sum = 0;
        int end = 0;
        while (part.find() && part.start() == end && MILLIS.containsKey(part.group(2))) {
            sum += Long.parseLong(part.group(1)) * MILLIS.get(part.group(2));
            end = part.end();
        }
        if (end == 0 || end != text.strip().length()) {
            throw new BotfarmException("invalid", "\"" + text + "\" is no duration: write 90s, 5m or 1h 30m");
        }
        return Duration.ofMillis(sum);
    }

    /** For people: {@code 4m 50s}. */
    static String lasting(Duration duration) {
        long seconds = Math.max(0, Math.round(duration.toMillis() / 1000.0));
        return seconds >= 60 ? seconds / 60 + "m " + seconds % 60 + "s" : seconds + "s";
    }
}
