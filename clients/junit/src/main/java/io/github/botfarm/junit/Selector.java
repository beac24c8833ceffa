package io.github.botfarm.junit;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Map.Entry;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Which account is wanted: whatever is given must match. */
record Selector(Map<String, String> fields, Map<String, String> labels) {
    /** What the annotation says, over what the environment says. */
    static Selector of(Leased leased, Map<String, String> variables) {
        Map<String, String> fields = new LinkedHashMap<>();
        put(fields, "env", leased.env(), variables.get("BOTFARM_ENV"));
        put(fields, "domain", leased.domain(), variables.get("BOTFARM_DOMAIN"));
        put(fields, "project_id", leased.project(), variables.get("BOTFARM_PROJECT"));
        put(fields, "login", leased.login(), null);
        Map<String, String> labels = new LinkedHashMap<>();
        for (String label : leased.labels()) {
            String[] parts = label.split("=", 2);
            if (parts.length < 2 || parts[0].isEmpty()) {
                throw new BotfarmException("invalid", "the label \"" + label + "\" must be key=value");
            }
            labels.put(parts[0], parts[1]);
        }
        return new Selector(fields, labels);
    }

    Map<String, Object> onTheWire() {
        Map<String, Object> all = new LinkedHashMap<>(fields);
        all.put("labels", labels);
        return all;
    }

    /** Whether an account is of this kind, whatever condition it is in. */
    boolean fits(JsonNode user) {
        return fields.entrySet().stream().allMatch(field ->
                        user.path(field.getKey()).asText().toLowerCase(Locale.ROOT)
                                .equals(field.getValue().toLowerCase(Locale.ROOT)))
                && labels.entrySet().stream().allMatch(label ->
                        label.getValue().equals(user.path("labels").path(label.getKey()).asText(null)));
    }

    /** For people: {@code env=stage role=admin}. */
    @Override
    public String toString() {
        String shown = Stream.of(fields, labels).map(Map::entrySet).flatMap(entries -> entries.stream())
                .map(Entry::toString).collect(Collectors.joining(" "));
        return shown.isEmpty() ? "any account" : shown;
    }

    private static void put(Map<String, String> fields, String name, String chosen, String otherwise) {
        String value = chosen.isEmpty() ? otherwise : chosen;
        if (value != null && !value.isEmpty()) {
            fields.put(name, value);
        }
    }
}
